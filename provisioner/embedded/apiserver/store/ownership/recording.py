"""
Recording of an ordinary write: its manager becomes the only owner of each field that it changes.

Source: sigs.k8s.io/structured-merge-diff, merge/update.go (Update).
"""

from dataclasses import dataclass
from typing import Any, Final

from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.ownership import comparing, ignored, managers, topology
from provisioner.embedded.apiserver.store.ownership.fieldsets import NOTHING
from provisioner.embedded.apiserver.store.ownership.managers import UPDATE, Entry, Manager, Managers
from provisioner.model.kinds import Json, Kind


@dataclass(frozen=True, slots=True)
class Writer:
    """The field manager of a write, and the subresource that it uses."""

    name: str
    subresource: str = ""


UNKNOWN: Final = Writer("unknown")
"""The manager of a write that names none."""


def updated(kind: Kind, old: Json, new: Json, writer: Writer, *, part: Part, now: str) -> list[Json]:
    """
    Return the managedFields of the new object. `old` is empty for an object that is being created.

    The new object may contain managedFields, as after a read and write back; a single empty entry in them clears all
    managers.
    """
    before = managers.read(old.get("metadata", {}).get("managedFields"))
    sent = new.get("metadata", {}).get("managedFields")
    current = before if writer.subresource or not sent else managers.read(sent)
    if not writer.subresource and _clears_managers(sent):
        current = {}
    if old and not current:
        return []
    difference = comparing.compare(topology.root(kind), old, new)
    touched = ignored.owned(kind, difference.modified | difference.added, part=part)
    removed = ignored.owned(kind, difference.removed, part=part)
    updater = Manager(UPDATE, writer.name, kind.api_version, writer.subresource)
    if not touched and not removed:
        return managers.write(managers.with_time(current, before, now=now))
    lost = touched | removed
    others = managers.changed(current, lambda _, fields: fields - lost)
    owned_fields = ((current[updater].fields if updater in current else NOTHING) - removed) | touched
    result: Managers = {**others, updater: Entry(owned_fields, "", kind.api_version)}
    return managers.write(managers.capped(managers.with_time(result, before, now=now)))


def _clears_managers(sent: Any) -> bool:
    return isinstance(sent, list) and sent == [{}]
