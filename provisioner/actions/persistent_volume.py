"""
Build the PersistentVolume of a claim as external-provisioner does, so that a cluster can change over to that.

Only the node affinity differs: it names the pool, which is the disk's identity, and not the node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.actions.ownership_labels import annotations_of, history_with
from provisioner.model.history import Owner
from provisioner.model.kinds import Json, Object
from provisioner.model.names import (
    DRIVER,
    HISTORY,
    POOL_LABEL_PREFIX,
    POOL_PRESENT,
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
    TEMPLATE_NODE,
)
from provisioner.model.quantity import Quantity

IDENTITY_ATTRIBUTE = "storage.kubernetes.io/csiProvisionerIdentity"
DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"  # noqa: S105 - an annotation's name
DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"  # noqa: S105 - as above


REAL_NODE: Final = {"key": TEMPLATE_NODE, "operator": "DoesNotExist"}
"""The requirement of a label selector or node selector that excludes template nodes of cluster-autoscaler."""


@dataclass(frozen=True, slots=True)
class Backing:
    """The volume in the driver."""

    handle: str
    capacity_bytes: int
    context: Mapping[str, str]
    fs_type: str

    @property
    def pool_uuid(self) -> str:
        """The UUID of the pool that has the volume."""
        return self.handle.partition(".")[0]


def volume_name(claim_uid: str) -> str:
    """Return the name of a claim's new volume, which is also the name in CreateVolume."""
    return f"pvc-{claim_uid}"


def claim_ref(claim: Object) -> Json:
    """Return the claimRef for exactly this claim, with which the binder need not write to the volume."""
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def build(
    claim: Object,
    storage_class: Object,
    *,
    name: str,
    backing: Backing,
    labels: Mapping[str, str],
    identity: str,
    owners: Sequence[Owner] = (),
) -> Json:
    """
    Return the PersistentVolume `name` for `claim`.

    Policy, mount options and class are those of the class, the rest is the driver's.

    :param labels: the owner record
    :param owners: the earlier owners, first to last
    :param identity: the identity of the provisioner, which external-provisioner adds as a volume attribute
    """
    policy = storage_class.get("reclaimPolicy") or "Delete"
    annotations = {
        PROVISIONED_BY: DRIVER,
        DELETION_SECRET_NAME: "",
        DELETION_SECRET_NAMESPACE: "",
        HISTORY: history_with(labels, manifest=owners),
    } | {key: value for key, value in annotations_of(labels).items() if value is not None}
    metadata: Json = {"name": name, "annotations": annotations}
    if policy == "Delete":
        metadata["finalizers"] = [PROVISIONER_FINALIZER]
    mode = claim["spec"].get("volumeMode") or "Filesystem"
    source: Json = {
        "driver": DRIVER,
        "volumeHandle": backing.handle,
        "volumeAttributes": {**backing.context, IDENTITY_ATTRIBUTE: identity},
    }
    if mode != "Block" and backing.fs_type:
        source["fsType"] = backing.fs_type
    spec: Json = {
        "accessModes": list(claim["spec"]["accessModes"]),
        "capacity": {"storage": str(Quantity.of_bytes(backing.capacity_bytes))},
        "claimRef": claim_ref(claim),
        "csi": source,
        "nodeAffinity": affinity(backing.pool_uuid),
        "persistentVolumeReclaimPolicy": policy,
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": mode,
    }
    if storage_class.get("mountOptions"):
        spec["mountOptions"] = list(storage_class["mountOptions"])
    if claim["spec"].get("volumeAttributesClassName"):
        spec["volumeAttributesClassName"] = claim["spec"]["volumeAttributesClassName"]
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def affinity(pool_uuid: str) -> Json:
    """
    Return the node affinity for nodes with the pool, without template nodes of cluster-autoscaler.

    It uses labels, since matchFields alone would match every node. It cannot be changed later.
    """
    pool = {"key": f"{POOL_LABEL_PREFIX}{pool_uuid}", "operator": "In", "values": [POOL_PRESENT]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [pool, dict(REAL_NODE)]}]}}


def rewritten(volume: Object, annotations: Mapping[str, str], reference: Mapping[str, str]) -> list[Json]:
    """Return the JSON patch for annotations and claimRef, which applies only to the volume as it was read."""
    operations: list[tuple[str, str, Any]] = [
        ("test", "/metadata/resourceVersion", volume["metadata"]["resourceVersion"]),
        ("add", "/metadata/annotations", annotations),
        ("add", "/spec/claimRef", reference),
    ]
    return [{"op": op, "path": path, "value": value} for op, path, value in operations]


def managed_by_us(volume: Object) -> bool:
    """Report whether Mooring manages the volume: provisioned by it, or a static volume of its driver."""
    provisioned_by = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY, "")
    driver = (volume["spec"].get("csi") or {}).get("driver", "")
    return driver == DRIVER and provisioned_by in ("", DRIVER)
