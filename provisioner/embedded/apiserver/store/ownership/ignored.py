"""
Fields that no manager owns, or that a write through one path cannot change.

Source: k8s.io/apimachinery, pkg/util/managedfields/internal/stripmeta.go, and the GetResetFields of the strategies in
pkg/registry of k8s.io/kubernetes.
"""

from typing import Final

from provisioner.embedded.apiserver.store.lifecycle import WITH_STATUS, Part
from provisioner.embedded.apiserver.store.ownership.fieldsets import Fields, Path
from provisioner.model import kinds
from provisioner.model.kinds import Kind

_SYSTEM: Final = frozenset({
    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    "resourceVersion", "selfLink", "managedFields",
})  # fmt: skip


def owned(kind: Kind, fields: Fields, *, part: Part) -> Fields:
    """Return the fields that a writer of this part of the object can own."""
    return frozenset(path for path in fields if _can_be_owned(kind, path, part))


def _can_be_owned(kind: Kind, path: Path, part: Part) -> bool:
    first = path[0]
    if first in ("f:apiVersion", "f:kind") or path == ("f:metadata",):
        return False
    if first == "f:metadata" and path[1].removeprefix("f:") in _SYSTEM:
        return False
    if first == "f:status" and kind in WITH_STATUS:
        return part == "status" or (kind is kinds.NODE and part == "main")
    return part != "status" or first == "f:metadata"
