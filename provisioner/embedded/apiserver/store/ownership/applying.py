"""
Server-side apply: an applied configuration merged into an object, or the managers it conflicts with.

Source: sigs.k8s.io/structured-merge-diff, merge/update.go (Apply and prune) and merge/conflict.go; Kubernetes
documentation, "Server-Side Apply".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.embedded.apiserver.store import admission, errors
from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.ownership import comparing, ignored, managers, merging, topology
from provisioner.embedded.apiserver.store.ownership.fieldsets import (
    NOTHING,
    Fields,
    fields_of,
    prefixes,
    repeated,
    shown,
    with_ancestors,
)
from provisioner.embedded.apiserver.store.ownership.managers import APPLY, UPDATE, Entry, Manager, Managers
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.embedded.apiserver.store.ownership.topology import Node
from provisioner.embedded.apiserver.store.strict import conform
from provisioner.model.kinds import Json, Kind

BEFORE: Final = "before-first-apply"
"""Owns what an object already had when nobody had kept a record."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The object that an apply makes, and who owns what of it then."""

    object: Json
    managers: Managers
    before: Managers

    def managed(self, now: str) -> list[Json]:
        """The object's `managedFields`."""
        return managers.write(managers.with_time(self.managers, self.before, now=now))


class Conflicts(Exception):
    """Other managers own fields that the configuration wants to change."""

    def __init__(self, found: Mapping[Manager, Fields]) -> None:
        super().__init__(f"conflicts with {len(found)} managers")
        self.found = found

    def refused(self) -> errors.Refused:
        """409 in the words of Kubernetes, with one cause a field."""
        pairs = [(manager, shown(path)) for manager, paths in sorted(self.found.items()) for path in sorted(paths)]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}
            for manager, field in pairs
        ]
        if len(pairs) == 1:
            message = f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {pairs[0][1]}"
        else:
            lines: list[str] = []
            for manager in sorted(self.found):
                lines += [f"conflicts with {manager}:", *(f"- {field}" for who, field in pairs if who == manager)]
            message = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)
        return errors.Refused(409, "Conflict", message, {"causes": causes})


def apply(kind: Kind, old: Json, configuration: Json, writer: Writer, *, part: Part, force: bool) -> Applied:
    """
    Lay a configuration over an object, take out what its writer applied before and does not any more.

    `old` is empty for an object that is to be made. The result has its defaults, so that a list which is owned as one
    whole is not taken for another because the server filled in what the configuration leaves out. Raises Conflicts
    unless forced, and Refused (400) for a configuration that says two things about one entry of a list.
    """
    root = topology.root(kind)
    if twice := repeated(root, configuration):
        raise errors.bad_request(f"the applied configuration has more than one entry for {shown(twice)}; keep one")
    before = managers.read(old.get("metadata", {}).get("managedFields"))
    current = dict(before)
    if old and not current:
        everything = ignored.owned(kind, fields_of(root, old), part="main")
        current = {Manager(UPDATE, BEFORE, kind.api_version): Entry(everything, "", kind.api_version)}
    me = Manager(APPLY, writer.name, subresource=writer.subresource)
    formerly = current[me].fields if me in current else NOTHING
    mine = ignored.owned(kind, fields_of(root, configuration), part=part)
    current[me] = Entry(mine, "", kind.api_version)
    merged = merging.merge(root, old, configuration) if old else configuration
    left = _pruned(root, merged, formerly, owned=_owned(current) | prefixes(fields_of(root, configuration)))
    result = complete(kind, left)
    difference = comparing.compare(root, old, result)
    touched = ignored.owned(kind, difference.modified | difference.added, part=part)
    conflicts = {key: found for key, entry in current.items() if key != me and (found := entry.fields & touched)}
    if conflicts and not force:
        raise Conflicts(conflicts)
    lost = touched | difference.removed
    kept = managers.changed(current, lambda key, fields: fields if key == me else fields - lost)
    return Applied(result, kept, before)


def complete(kind: Kind, obj: Json) -> Json:
    """A copy of the object with the defaults of its kind."""
    copy, _ = conform(kind, obj, validation="Ignore")
    return admission.default(kind, copy)


def _owned(current: Managers) -> Fields:
    """Everything that somebody owns, and all that it lies in."""
    return prefixes(path for entry in current.values() for path in entry.fields)


def _pruned(root: Node, merged: Json, formerly: Fields, *, owned: Fields) -> Json:
    """Without what was applied before and nobody owns now."""
    left: Json = merging.without(root, merged, with_ancestors(formerly) - owned)
    return left
