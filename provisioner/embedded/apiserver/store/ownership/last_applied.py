"""
Migration from client-side to server-side apply by kubectl's last-applied annotation.

Source: k8s.io/apimachinery, pkg/util/managedfields/internal (lastappliedmanager.go, lastappliedupdater.go).
"""

import json
from typing import Final

from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.ownership import applying, comparing, topology
from provisioner.embedded.apiserver.store.ownership.applying import Applied, FieldConflictError
from provisioner.embedded.apiserver.store.ownership.fieldsets import NOTHING, Fields, fields_of
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.embedded.apiserver.store.strict import conform
from provisioner.model.kinds import Json, Kind

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL: Final = "kubectl"
"""The field manager that kubectl uses for a server-side apply."""


def apply(kind: Kind, old: Json, configuration: Json, writer: Writer, *, part: Part, force: bool) -> Applied:
    """
    Apply a configuration; kubectl may take over fields from its own client-side apply without a conflict.

    An apply by kubectl also updates its annotation. Raise StatusError (409) for every other conflict.
    """
    try:
        done = applying.apply(kind, old, configuration, writer, part=part, force=force)
    except FieldConflictError as conflicts:
        allowed = _unchanged_since(kind, old) if writer.name == KUBECTL else NOTHING
        left = {manager: rest for manager, fields in conflicts.found.items() if (rest := fields - allowed)}
        if left:
            raise FieldConflictError(left).refused() from None
        done = applying.apply(kind, old, configuration, writer, part=part, force=True)
    annotations = done.object["metadata"].get("annotations", {})
    if writer.name != KUBECTL or part != "main" or ANNOTATION not in annotations:
        return done
    text = json.dumps(configuration, separators=(",", ":"), ensure_ascii=False) + "\n"
    metadata = {**done.object["metadata"], "annotations": {**annotations, ANNOTATION: text}}
    return Applied({**done.object, "metadata": metadata}, done.managers, done.before)


def _unchanged_since(kind: Kind, old: Json) -> Fields:
    """Return the fields in the annotation that still have the value in the annotation."""
    text = old["metadata"].get("annotations", {}).get(ANNOTATION)
    if not text:
        return NOTHING
    try:
        last_applied, _ = conform(kind, json.loads(text), validation="Ignore")
    except (ValueError, StatusError):
        return NOTHING
    root = topology.root(kind)
    difference = comparing.compare(root, applying.complete(kind, last_applied), old)
    return fields_of(root, last_applied) - difference.modified - difference.added - difference.removed
