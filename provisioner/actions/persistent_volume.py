"""
The PersistentVolume of a claim, as external-provisioner writes it, so that one may change over to it at any time.

Only the node affinity differs: it names the pool, the disk's identity, and not the node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.actions.ownership_labels import annotations_of, history_with
from provisioner.model.history import Held
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
"""Requirement of a label selector or of a node selector: no node that cluster-autoscaler imagines."""


@dataclass(frozen=True, slots=True)
class Backing:
    """The driver's side of a volume."""

    handle: str
    capacity_bytes: int
    context: Mapping[str, str]
    fs_type: str

    @property
    def pool_uuid(self) -> str:
        """Identity of the disk that has the bytes."""
        return self.handle.partition(".")[0]


def volume_name(claim_uid: str) -> str:
    """Name of the volume that is provisioned for a claim; it is also the name given to CreateVolume."""
    return f"pvc-{claim_uid}"


def claim_ref(claim: Object) -> Json:
    """The reference that lets the volume bind to exactly this claim, without a further write to the volume."""
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
    held: Sequence[Held] = (),
) -> Json:
    """
    The PersistentVolume `name` for `claim`: policy, mount options and class from the class, the rest from the driver.

    `labels` say who holds it, and `held` who did before; `identity` is the provisioner's own, as external-provisioner
    adds it.
    """
    policy = storage_class.get("reclaimPolicy") or "Delete"
    annotations = {
        PROVISIONED_BY: DRIVER,
        DELETION_SECRET_NAME: "",
        DELETION_SECRET_NAMESPACE: "",
        HISTORY: history_with(labels, manifest=held),
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
    Return the node affinity that means the nodes with the pool: real ones, and none that cluster-autoscaler imagines.

    Expressions on labels, since matchFields alone would match every node. It can never be changed later.
    """
    pool = {"key": f"{POOL_LABEL_PREFIX}{pool_uuid}", "operator": "In", "values": [POOL_PRESENT]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [pool, dict(REAL_NODE)]}]}}


def rewritten(volume: Object, annotations: Mapping[str, str], reference: Mapping[str, str]) -> list[Json]:
    """The JSON patch to other annotations and another claimRef: on the volume as it was read, or not at all."""
    operations: list[tuple[str, str, Any]] = [
        ("test", "/metadata/resourceVersion", volume["metadata"]["resourceVersion"]),
        ("add", "/metadata/annotations", annotations),
        ("add", "/spec/claimRef", reference),
    ]
    return [{"op": op, "path": path, "value": value} for op, path, value in operations]


def managed_by_us(volume: Object) -> bool:
    """Whether our driver answers for the volume: made by us, or a static one of our driver."""
    made_by = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY, "")
    driver = (volume["spec"].get("csi") or {}).get("driver", "")
    return driver == DRIVER and made_by in ("", DRIVER)
