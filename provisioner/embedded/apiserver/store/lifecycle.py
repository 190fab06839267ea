"""
Changes to objects before create, update and delete, as pure functions.

Sources: k8s.io/apiserver, pkg/registry/rest (create.go, update.go, delete.go) and
pkg/registry/generic/registry/store.go; pkg/registry/core/pod/strategy.go in k8s.io/kubernetes for the grace period of
pods.
"""

from dataclasses import dataclass
from typing import Final, Literal

from provisioner.embedded.apiserver.store import errors
from provisioner.model import kinds
from provisioner.model.kinds import Json, Kind

Part = Literal["main", "status", "finalize", "binding"]
"""What a write may change: all but the status, the status, a namespace's spec.finalizers, or a pod's node."""

WITH_STATUS: Final = frozenset({
    kinds.NAMESPACE, kinds.NODE, kinds.POD, kinds.SERVICE, kinds.CLAIM, kinds.VOLUME, kinds.STATEFUL_SET,
})  # fmt: skip
"""Kinds with a status subresource."""

WITH_GENERATION: Final = frozenset({kinds.POD, kinds.STATEFUL_SET, kinds.CSI_DRIVER})
"""Kinds whose metadata.generation counts changes of the spec."""

DEFAULT_GRACE_SECONDS: Final = 30
NAMESPACE_FINALIZER: Final = "kubernetes"
"""The entry of a namespace's spec.finalizers until all objects in the namespace are deleted."""

_PROPAGATION_FINALIZERS: Final = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_SYSTEM_FIELDS: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of a DELETE; empty and None mean not specified."""

    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None
    propagation: str = ""
    dry_run: bool = False


def before_create(kind: Kind, obj: Json, *, name: str, namespace: str, uid: str, now: str) -> Json:
    """Return a new object with the metadata that only the server sets."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _SYSTEM_FIELDS}
    for field in ("resourceVersion", "namespace"):
        metadata.pop(field, None)
    _tidy(metadata)
    metadata |= {"name": name, "uid": uid, "creationTimestamp": now}
    if kind.namespaced:
        metadata["namespace"] = namespace
    if (
        kind in WITH_GENERATION and kind is not kinds.CSI_DRIVER
    ):  # a CSIDriver's generation starts with its first change
        metadata["generation"] = 1
    return {**obj, "metadata": metadata}


def before_update(kind: Kind, old: Json, new: Json, *, part: Part) -> Json:
    """
    Return the new object with the old value of everything that this write may not change.

    Raise StatusError: 400 for another name or namespace, 409 for another uid or an old resourceVersion.
    """
    metadata = dict(new.get("metadata", {}))
    before = old["metadata"]
    _identity(kind, before, metadata)
    for field in (*_SYSTEM_FIELDS, "name", "namespace", "resourceVersion"):
        metadata.pop(field, None)
        if field in before:
            metadata[field] = before[field]
    _tidy(metadata)
    result = {**new, "metadata": metadata}
    if part == "main" and kind in WITH_STATUS:
        _keep(old, result, "status")
    if part == "main" and kind is kinds.NAMESPACE:
        _keep(old, result, "spec")
    if part == "status":
        _keep(old, result, "spec")
        if kind is kinds.POD:
            _keep(old["metadata"], metadata, "ownerReferences")
    if part == "finalize":
        result = {**old, "spec": new.get("spec", {})}
    if kind in WITH_GENERATION and old.get("spec") != result.get("spec"):
        metadata["generation"] = before.get("generation", 0) + 1
    return result


def _identity(kind: Kind, before: Json, metadata: Json) -> None:
    name = before["name"]
    if metadata.get("name", name) != name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    if metadata.get("namespace", before.get("namespace")) != before.get("namespace"):
        raise errors.bad_request(
            f"the namespace of the provided object ({metadata['namespace']}) does not match the namespace sent on the "
            f"request ({before.get('namespace', '')})"
        )
    if metadata.get("uid", before["uid"]) != before["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise errors.conflict(kind, name, why)
    if metadata.get("resourceVersion", "") not in ("", before["resourceVersion"]):
        raise errors.conflict(kind, name)


def _tidy(metadata: Json) -> None:
    """Remove fields that a client may not set, and empty ones."""
    for field in ("managedFields", "selfLink"):
        metadata.pop(field, None)
    for empty in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if not metadata.get(empty, True):
            del metadata[empty]


def _keep(old: Json, new: Json, field: str) -> None:
    new.pop(field, None)
    if field in old:
        new[field] = old[field]


def is_finished(kind: Kind, obj: Json) -> bool:
    """Report whether an object is being deleted and has neither finalizers nor a grace period left."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (kind is kinds.NAMESPACE and obj.get("spec", {}).get("finalizers"))


def before_delete(kind: Kind, obj: Json, options: DeleteOptions, *, now: str, until: str) -> Json:
    """
    Return the object with the deletionTimestamp that a DELETE sets.

    `until` is the end of a pod's grace period; a repeated DELETE may shorten the period but not extend it.
    Raise StatusError (409) if a precondition does not hold.
    """
    metadata = dict(obj["metadata"])
    check(kind, metadata, options)
    marked = "deletionTimestamp" in metadata
    grace = grace_seconds(kind, obj, options)
    if not marked or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = until if grace else now
        metadata["deletionGracePeriodSeconds"] = grace
        if kind in WITH_GENERATION:
            metadata["generation"] = metadata.get("generation", 0) + 1
    _set_propagation_finalizer(metadata, options)
    result = {**obj, "metadata": metadata}
    if kind is kinds.NAMESPACE:
        result["status"] = {**obj.get("status", {}), "phase": "Terminating"}
    return result


def check(kind: Kind, metadata: Json, options: DeleteOptions) -> None:
    """Raise StatusError (409) unless the preconditions hold."""
    for label, field, requested in (
        ("UID", "uid", options.uid),
        ("ResourceVersion", "resourceVersion", options.resource_version),
    ):
        if requested and requested != metadata[field]:
            why = (
                f"Precondition failed: {label} in precondition: {requested}, {label} in object meta: {metadata[field]}"
            )
            raise errors.conflict(kind, metadata["name"], why)


def grace_seconds(kind: Kind, obj: Json, options: DeleteOptions) -> int:
    """Return a pod's grace period in seconds; 0 for other kinds, and for unbound and finished pods."""
    if kind is not kinds.POD:
        return 0
    spec, phase = obj.get("spec", {}), obj.get("status", {}).get("phase")
    if not spec.get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    requested = options.grace_seconds
    period = requested if requested is not None else spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return int(period) if period >= 0 else 1


def _set_propagation_finalizer(metadata: Json, options: DeleteOptions) -> None:
    """Set the garbage collector's finalizer for the requested propagation policy, and remove the others."""
    if not options.propagation:
        return
    others = [each for each in metadata.get("finalizers", []) if each not in _PROPAGATION_FINALIZERS.values()]
    if finalizer := _PROPAGATION_FINALIZERS.get(options.propagation):
        others.append(finalizer)
    if others:
        metadata["finalizers"] = others
    else:
        metadata.pop("finalizers", None)
