"""
From client-side to server-side apply: the annotation in which kubectl kept what it applied.

Source: k8s.io/apimachinery, pkg/util/managedfields/internal (lastappliedmanager.go, lastappliedupdater.go).
"""

import json
from typing import Final

from provisioner.embedded.apiserver.store.errors import Refused
from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.ownership import applying, comparing, topology
from provisioner.embedded.apiserver.store.ownership.applying import Applied, Conflicts
from provisioner.embedded.apiserver.store.ownership.fieldsets import NOTHING, Fields, fields_of
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.embedded.apiserver.store.strict import conform
from provisioner.model.kinds import Json, Kind

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL: Final = "kubectl"
"""The field manager that kubectl uses for a server-side apply."""


def apply(kind: Kind, old: Json, configuration: Json, writer: Writer, *, part: Part, force: bool) -> Applied:
    """
    Apply; kubectl may take over what it applied itself from the client's side, and keeps its annotation true.

    Raises Refused (409) for every other conflict.
    """
    try:
        done = applying.apply(kind, old, configuration, writer, part=part, force=force)
    except Conflicts as conflicts:
        allowed = _unchanged_since(kind, old) if writer.name == KUBECTL else NOTHING
        left = {manager: rest for manager, fields in conflicts.found.items() if (rest := fields - allowed)}
        if left:
            raise Conflicts(left).refused() from None
        done = applying.apply(kind, old, configuration, writer, part=part, force=True)
    annotations = done.object["metadata"].get("annotations", {})
    if writer.name != KUBECTL or part != "main" or ANNOTATION not in annotations:
        return done
    text = json.dumps(configuration, separators=(",", ":"), ensure_ascii=False) + "\n"
    metadata = {**done.object["metadata"], "annotations": {**annotations, ANNOTATION: text}}
    return Applied({**done.object, "metadata": metadata}, done.managers, done.before)


def _unchanged_since(kind: Kind, old: Json) -> Fields:
    """The fields that the annotation names and that still have the value it says."""
    text = old["metadata"].get("annotations", {}).get(ANNOTATION)
    if not text:
        return NOTHING
    try:
        said, _ = conform(kind, json.loads(text), validation="Ignore")
    except (ValueError, Refused):
        return NOTHING
    root = topology.root(kind)
    difference = comparing.compare(root, applying.complete(kind, said), old)
    return fields_of(root, said) - difference.modified - difference.added - difference.removed
