"""
Checks whether a new or changed object may be stored, given the stored objects.

Sources: the admission plugins NamespaceLifecycle and PersistentVolumeClaimResize of k8s.io/kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.embedded.apiserver.store import errors, immutable, metadata, rules
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.records import Key
from provisioner.model import kinds
from provisioner.model.kinds import Json, Kind


@dataclass(frozen=True, slots=True)
class Proposal:
    """The object to store, the object that it replaces, and all stored objects."""

    kind: Kind
    old: Json | None
    new: Json
    objects: Mapping[Kind, Mapping[Key, Json]]

    @property
    def name(self) -> str:
        """The object's name; empty when it has none yet."""
        return str(self.new["metadata"].get("name", ""))


def check_new(proposal: Proposal) -> None:
    """Raise StatusError unless the object may be created: its namespace is active, and it is valid."""
    kind, new = proposal.kind, proposal.new
    if kind.namespaced:
        _check_namespace(proposal, new["metadata"]["namespace"])
    found = [*metadata.problems(kind, new["metadata"]), *rules.problems(kind, new)]
    if found:
        raise errors.invalid(kind, proposal.name, found)


def check_change(proposal: Proposal, *, part: Part) -> None:
    """Raise StatusError unless the change is allowed."""
    kind, old, new = proposal.kind, proposal.old, proposal.new
    assert old is not None  # noqa: S101 - a change has one
    found = [*metadata.problems(kind, new["metadata"]), *metadata.new_finalizers(old["metadata"], new["metadata"])]
    if part == "main":
        if old != new:
            found += rules.problems(kind, new)
        found += immutable.problems(kind, old, new)
    if found:
        raise errors.invalid(kind, proposal.name, found)
    if part == "main" and kind is kinds.CLAIM and immutable.expands(old, new):
        _check_expandable(proposal)


def _check_namespace(proposal: Proposal, namespace: str) -> None:
    found = proposal.objects[kinds.NAMESPACE].get(("", namespace))
    if found is None:
        raise errors.not_found(kinds.NAMESPACE, namespace)
    if "deletionTimestamp" in found["metadata"]:
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        refused = errors.forbidden(proposal.kind, proposal.name, why)
        cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
        cause["field"] = "metadata.namespace"
        raise StatusError(refused.code, refused.reason, refused.message, {**refused.details, "causes": [cause]})


def _check_expandable(proposal: Proposal) -> None:
    name = proposal.new["spec"].get("storageClassName", "")
    storage_class = proposal.objects[kinds.STORAGE_CLASS].get(("", name))
    if storage_class is None or not storage_class.get("allowVolumeExpansion"):
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
            f"support resize; the class {name!r} does not exist or has allowVolumeExpansion unset"
        )
        raise errors.forbidden(proposal.kind, proposal.name, why)
