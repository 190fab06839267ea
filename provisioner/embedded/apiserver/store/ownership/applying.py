"""
Server-side apply: merges a configuration into an object, or reports the managers that it conflicts with.

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
    first_duplicate,
    format_path,
    prefixes,
    with_ancestors,
)
from provisioner.embedded.apiserver.store.ownership.managers import APPLY, UPDATE, Entry, Manager, Managers
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.embedded.apiserver.store.ownership.topology import Node
from provisioner.embedded.apiserver.store.strict import conform
from provisioner.model.kinds import Json, Kind

BEFORE: Final = "before-first-apply"
"""The manager of the fields of an object that had no managedFields before its first apply."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of an apply: the object, its managers, and its managers before."""

    object: Json
    managers: Managers
    before: Managers

    def managed(self, now: str) -> list[Json]:
        """Return the object's `managedFields`."""
        return managers.write(managers.with_time(self.managers, self.before, now=now))


class FieldConflictError(Exception):
    """Other managers own fields that the configuration would change."""

    def __init__(self, found: Mapping[Manager, Fields]) -> None:
        super().__init__(f"conflicts with {len(found)} managers")
        self.found = found

    def refused(self) -> errors.StatusError:
        """Return a 409 in Kubernetes' wording, with one cause for each field."""
        pairs = [
            (manager, format_path(path)) for manager, paths in sorted(self.found.items()) for path in sorted(paths)
        ]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}
            for manager, field in pairs
        ]
        if len(pairs) == 1:
            message = f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {pairs[0][1]}"
        else:
            lines: list[str] = []
            for manager in sorted(self.found):
                lines += [f"conflicts with {manager}:", *(f"- {field}" for owner, field in pairs if owner == manager)]
            message = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)
        return errors.StatusError(409, "Conflict", message, {"causes": causes})


def apply(kind: Kind, old: Json, configuration: Json, writer: Writer, *, part: Part, force: bool) -> Applied:
    """
    Merge a configuration into an object, and remove fields that its writer applied before but no longer applies.

    `old` is empty for an object that is to be created. The result has its defaults: otherwise an atomic list would
    count as changed because of values that the server filled in. Raise FieldConflictError unless forced, and
    StatusError (400) for a configuration that has a list entry twice.
    """
    root = topology.root(kind)
    if duplicate := first_duplicate(root, configuration):
        raise errors.bad_request(
            f"the applied configuration has more than one entry for {format_path(duplicate)}; keep one"
        )
    before = managers.read(old.get("metadata", {}).get("managedFields"))
    current = dict(before)
    if old and not current:
        everything = ignored.owned(kind, fields_of(root, old), part="main")
        current = {Manager(UPDATE, BEFORE, kind.api_version): Entry(everything, "", kind.api_version)}
    applier = Manager(APPLY, writer.name, subresource=writer.subresource)
    previous = current[applier].fields if applier in current else NOTHING
    applied_fields = ignored.owned(kind, fields_of(root, configuration), part=part)
    current[applier] = Entry(applied_fields, "", kind.api_version)
    merged = merging.merge(root, old, configuration) if old else configuration
    left = _pruned(root, merged, previous, owned=_owned(current) | prefixes(fields_of(root, configuration)))
    result = complete(kind, left)
    difference = comparing.compare(root, old, result)
    touched = ignored.owned(kind, difference.modified | difference.added, part=part)
    conflicts = {key: found for key, entry in current.items() if key != applier and (found := entry.fields & touched)}
    if conflicts and not force:
        raise FieldConflictError(conflicts)
    lost = touched | difference.removed
    remaining = managers.changed(current, lambda key, fields: fields if key == applier else fields - lost)
    return Applied(result, remaining, before)


def complete(kind: Kind, obj: Json) -> Json:
    """Return a copy of the object with the defaults of its kind."""
    copy, _ = conform(kind, obj, validation="Ignore")
    return admission.default(kind, copy)


def _owned(current: Managers) -> Fields:
    """Return all owned fields and their ancestors."""
    return prefixes(path for entry in current.values() for path in entry.fields)


def _pruned(root: Node, merged: Json, previous: Fields, *, owned: Fields) -> Json:
    """Return the object without fields that were applied before and that no manager owns now."""
    left: Json = merging.without(root, merged, with_ancestors(previous) - owned)
    return left
