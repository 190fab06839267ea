"""Builders of claims, volumes, classes and other objects for the tests of the decision layer."""

from collections.abc import Sequence
from typing import Any

from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import Object
from provisioner.model.names import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    DRIVER,
    HOLDER_CLAIM,
    HOLDER_CLAIM_UID,
    HOLDER_NAMESPACE,
    HOLDER_NAMESPACE_UID,
    NAMESPACE_UID,
    ORDINAL,
    PROVISIONED_BY,
    SELECTED_NODE,
    STATEFUL_SET,
    TEMPLATE,
)
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import StatefulSet
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

POOL = "11111111-1111-1111-1111-111111111111"
NAMESPACE = "ns-uid"


def claim(
    name: str = "www-web-0",
    *,
    uid: str = "new",
    size: str = "1Gi",
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    cls: str | None = "fast",
    volume: str = "",
    bound: bool = False,
    by_controller: bool = False,
    selector: Object | None = None,
    source: Object | None = None,
    source_field: str = "dataSourceRef",
    mode: str = "Filesystem",
    vac: str = "",
    node: str = "",
    deleting: bool = False,
    phase: str = "Pending",
    status: Object | None = None,
) -> Claim:
    """Return a claim of namespace ``default``."""
    annotations = {}
    if bound:
        annotations[BIND_COMPLETED] = "yes"
    if by_controller:
        annotations[BOUND_BY_CONTROLLER] = "yes"
    if node:
        annotations[SELECTED_NODE] = node
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": uid, "annotations": annotations}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec: dict[str, Any] = {
        "accessModes": list(modes),
        "resources": {"requests": {"storage": size}},
        "volumeMode": mode,
    }
    if cls is not None:
        spec["storageClassName"] = cls
    if volume:
        spec["volumeName"] = volume
    if selector is not None:
        spec["selector"] = selector
    if source is not None:
        spec[source_field] = source
    if vac:
        spec["volumeAttributesClassName"] = vac
    return Claim.of({"metadata": metadata, "spec": spec, "status": {"phase": phase, **(status or {})}})


def volume(
    name: str = "pv",
    *,
    size: str = "1Gi",
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    cls: str = "fast",
    ref: str | tuple[str, str] | None = None,
    phase: str = "Available",
    policy: str = "Retain",
    labels: dict[str, str] | None = None,
    affinity: Object | None = None,
    mode: str = "Filesystem",
    vac: str = "",
    deleting: bool = False,
    by_controller: bool = False,
    provisioned_by: str = "",
    driver: str = DRIVER,
    namespace_uid: str = NAMESPACE,
    ordinal: str = "",
) -> Volume:
    """Return a volume; `ref` is a claim's name, or (name, uid)."""
    annotations = {NAMESPACE_UID: namespace_uid} if namespace_uid else {}
    if by_controller:
        annotations[BOUND_BY_CONTROLLER] = "yes"
    if provisioned_by:
        annotations[PROVISIONED_BY] = provisioned_by
    if ordinal:
        annotations[STATEFUL_SET], _, annotations[ORDINAL] = ordinal.rpartition("-")
        annotations[TEMPLATE] = "www"
    metadata: dict[str, Any] = {"name": name, "labels": labels or {}, "annotations": annotations}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec: dict[str, Any] = {
        "accessModes": list(modes),
        "capacity": {"storage": size},
        "storageClassName": cls,
        "persistentVolumeReclaimPolicy": policy,
        "volumeMode": mode,
        "csi": {"driver": driver, "volumeHandle": f"{POOL}.{name}"},
    }
    if ref is not None:
        claim_name, uid = (ref, "") if isinstance(ref, str) else ref
        spec["claimRef"] = {"namespace": "default", "name": claim_name, "uid": uid}
    if affinity is not None:
        spec["nodeAffinity"] = {"required": affinity}
    if vac:
        spec["volumeAttributesClassName"] = vac
    return Volume.of({"metadata": metadata, "spec": spec, "status": {"phase": phase}})


def storage_class(
    name: str = "fast",
    *,
    adopt: str = "Ordinal",
    policy: str = "Retain",
    waits: bool = True,
    provisioner: str = DRIVER,
    parameters: dict[str, str] | None = None,
    default: bool = False,
    expands: bool = False,
    topologies: Sequence[Object] | None = None,
) -> StorageClass:
    """Return a StorageClass, by default one of Mooring's provisioner."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return StorageClass.of(
        {
            "metadata": {"name": name, "annotations": annotations},
            "provisioner": provisioner,
            "reclaimPolicy": policy,
            "volumeBindingMode": "WaitForFirstConsumer" if waits else "Immediate",
            "allowVolumeExpansion": expands,
            **({"allowedTopologies": topologies} if topologies else {}),
            "parameters": {"adopt": adopt, **(parameters or {})},
        }
    )


def node(name: str = "n1", *, pool: str = POOL, **labels: str) -> Node:
    """Return a ready node with a pool."""
    found = {f"pool.mooring.dev/{pool}": "present", "kubernetes.io/hostname": name, **labels}
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    return Node.of({"metadata": {"name": name, "uid": name, "labels": found}, "status": status})


def web(*, deleting: bool = False, templates: tuple[str, ...] = ("www",)) -> StatefulSet:
    """Return the StatefulSet `web`."""
    metadata: dict[str, Any] = {"name": "web", "namespace": "default", "uid": "set"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": each}} for each in templates]}
    return StatefulSet.of({"metadata": metadata, "spec": spec})


def manifest(
    name: str = "pv",
    *,
    claim_name: str = "www-web-0",
    uid: str = "old",
    since: str = "2026-01-01",
    in_trash: bool = False,
    ready: bool = True,
    backend: str = "directory",
) -> Manifest:
    """Return the manifest of a volume that a claim owned."""
    holder = {
        HOLDER_NAMESPACE: "default",
        HOLDER_NAMESPACE_UID: NAMESPACE,
        HOLDER_CLAIM: claim_name,
        HOLDER_CLAIM_UID: uid,
    }
    return Manifest(f"{POOL}.{name}", name, 1 << 30, backend, "mount", holder, since, in_trash, ready)


def pod(name: str = "web-0", *, claim_name: str = "www-web-0", node_name: str = "", ready: bool = False) -> Pod:
    """Return a pod that mounts one claim."""
    return Pod.of(
        {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {
                "nodeName": node_name,
                "volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": claim_name}}],
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}] if ready else []},
        }
    )
