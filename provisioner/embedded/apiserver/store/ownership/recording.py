"""
An ordinary write, recorded: whoever changes a field owns it from then on, and alone.

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
    """Who writes, by the name it goes by, and through which subresource."""

    name: str
    subresource: str = ""


UNKNOWN: Final = Writer("unknown")
"""Whoever does not say."""


def updated(kind: Kind, old: Json, new: Json, writer: Writer, *, part: Part, now: str) -> list[Json]:
    """
    The managedFields of the new object. `old` is empty for an object that is being made.

    The new object may bring managedFields of its own, as one that was read and is written back does; one empty entry
    in them asks to forget all managers.
    """
    before = managers.read(old.get("metadata", {}).get("managedFields"))
    said = new.get("metadata", {}).get("managedFields")
    current = before if writer.subresource or not said else managers.read(said)
    if not writer.subresource and _asks_to_forget(said):
        current = {}
    if old and not current:
        return []
    difference = comparing.compare(topology.root(kind), old, new)
    touched = ignored.owned(kind, difference.modified | difference.added, part=part)
    removed = ignored.owned(kind, difference.removed, part=part)
    me = Manager(UPDATE, writer.name, kind.api_version, writer.subresource)
    if not touched and not removed:
        return managers.write(managers.with_time(current, before, now=now))
    lost = touched | removed
    others = managers.changed(current, lambda _, fields: fields - lost)
    mine = ((current[me].fields if me in current else NOTHING) - removed) | touched
    result: Managers = {**others, me: Entry(mine, "", kind.api_version)}
    return managers.write(managers.capped(managers.with_time(result, before, now=now)))


def _asks_to_forget(said: Any) -> bool:
    return isinstance(said, list) and said == [{}]
