"""
An object's birth, change and end, as pure functions over plain objects.

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
"""What a write may touch: all but the status, the status, a namespace's own finalizers, or a pod's node."""

WITH_STATUS: Final = frozenset({
    kinds.NAMESPACE, kinds.NODE, kinds.POD, kinds.SERVICE, kinds.CLAIM, kinds.VOLUME, kinds.STATEFUL_SET,
})  # fmt: skip
"""Kinds whose status is written through its own path."""

WITH_GENERATION: Final = frozenset({kinds.POD, kinds.STATEFUL_SET, kinds.CSI_DRIVER})
"""Kinds that count the changes of their spec."""

DEFAULT_GRACE_SECONDS: Final = 30
NAMESPACE_FINALIZER: Final = "kubernetes"
"""Stands in a namespace's spec until everything inside is gone."""

_PROPAGATION_FINALIZERS: Final = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_SYSTEM_FIELDS: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a client says with a DELETE; empty and None mean that it said nothing."""

    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None
    propagation: str = ""
    dry_run: bool = False


def born(kind: Kind, obj: Json, *, name: str, namespace: str, uid: str, now: str) -> Json:
    """The object with the metadata of a new one; what only the server may set is set."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _SYSTEM_FIELDS}
    for gone in ("resourceVersion", "namespace"):
        metadata.pop(gone, None)
    _tidy(metadata)
    metadata |= {"name": name, "uid": uid, "creationTimestamp": now}
    if kind.namespaced:
        metadata["namespace"] = namespace
    if kind in WITH_GENERATION and kind is not kinds.CSI_DRIVER:  # whose first change is counted as the first
        metadata["generation"] = 1
    return {**obj, "metadata": metadata}


def changed(kind: Kind, old: Json, new: Json, *, part: Part) -> Json:
    """
    The new object with everything kept that this write may not touch.

    Raises Refused: 400 for another name or namespace, 409 for another uid or an old resourceVersion.
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
    """Drop what a client may not say, and what is there but empty."""
    for gone in ("managedFields", "selfLink"):
        metadata.pop(gone, None)
    for empty in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if not metadata.get(empty, True):
            del metadata[empty]


def _keep(old: Json, new: Json, field: str) -> None:
    new.pop(field, None)
    if field in old:
        new[field] = old[field]


def is_finished(kind: Kind, obj: Json) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (kind is kinds.NAMESPACE and obj.get("spec", {}).get("finalizers"))


def condemned(kind: Kind, obj: Json, options: DeleteOptions, *, now: str, until: str) -> Json:
    """
    The object after a DELETE: marked, and perhaps finished.

    `until` is when a pod's grace period ends; a repeated delete may shorten the period and never lengthens it.
    Raises Refused (409) when a precondition does not hold.
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
    _propagate(metadata, options)
    result = {**obj, "metadata": metadata}
    if kind is kinds.NAMESPACE:
        result["status"] = {**obj.get("status", {}), "phase": "Terminating"}
    return result


def check(kind: Kind, metadata: Json, options: DeleteOptions) -> None:
    """Raise Refused (409) unless the preconditions hold."""
    for word, field, asked in (
        ("UID", "uid", options.uid),
        ("ResourceVersion", "resourceVersion", options.resource_version),
    ):
        if asked and asked != metadata[field]:
            why = f"Precondition failed: {word} in precondition: {asked}, {word} in object meta: {metadata[field]}"
            raise errors.conflict(kind, metadata["name"], why)


def grace_seconds(kind: Kind, obj: Json, options: DeleteOptions) -> int:
    """How long a pod may stay after its DELETE; 0 for every other kind and for pods that do not run anywhere."""
    if kind is not kinds.POD:
        return 0
    spec, phase = obj.get("spec", {}), obj.get("status", {}).get("phase")
    if not spec.get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    asked = options.grace_seconds
    period = asked if asked is not None else spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return int(period) if period >= 0 else 1


def _propagate(metadata: Json, options: DeleteOptions) -> None:
    """Put the finalizer for the garbage collector that the chosen propagation asks for, and no other."""
    if not options.propagation:
        return
    others = [each for each in metadata.get("finalizers", []) if each not in _PROPAGATION_FINALIZERS.values()]
    if wanted := _PROPAGATION_FINALIZERS.get(options.propagation):
        others.append(wanted)
    if others:
        metadata["finalizers"] = others
    else:
        metadata.pop("finalizers", None)
