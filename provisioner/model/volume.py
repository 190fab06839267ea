"""A PersistentVolume: the actual storage."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.fields import Fields
from provisioner.model.kinds import Object
from provisioner.model.quantity import ZERO, Quantity
from provisioner.model.selector import NodeSelector


@dataclass(frozen=True, slots=True)
class ClaimRef:
    """The claim that a volume belongs to; without a UID it is a reservation by name."""

    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Volume:
    """The fields of a volume that decisions use. `node_affinity` None means that every node can reach it."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    class_name: str
    capacity: Quantity
    modes: tuple[str, ...]
    volume_mode: str
    attributes_class: str
    claim_ref: ClaimRef | None
    phase: str
    deleting: bool
    reclaim_policy: str
    node_affinity: NodeSelector | None
    driver: str
    handle: str
    volume_attributes: Mapping[str, str]
    finalizers: tuple[str, ...]
    created: str

    @classmethod
    def of(cls, obj: Object) -> "Volume":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("volume", obj)
        annotations = fields.mapping("metadata.annotations")
        beta = annotations.get(names.CLASS_BETA)
        return cls(
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            resource_version=fields.text("metadata.resourceVersion"),
            labels=fields.mapping("metadata.labels"),
            annotations=annotations,
            class_name=beta if beta is not None else fields.text("spec.storageClassName"),
            capacity=fields.quantity("spec.capacity.storage", ZERO),
            modes=fields.texts("spec.accessModes"),
            volume_mode=fields.text("spec.volumeMode", "Filesystem"),
            attributes_class=fields.text("spec.volumeAttributesClassName"),
            claim_ref=fields.read("spec.claimRef", _claim_ref),
            phase=fields.text("status.phase", "Pending"),
            deleting=fields.raw("metadata.deletionTimestamp") is not None,
            reclaim_policy=fields.text("spec.persistentVolumeReclaimPolicy", "Retain"),
            node_affinity=fields.read("spec.nodeAffinity.required", NodeSelector.of),
            driver=fields.text("spec.csi.driver"),
            handle=fields.text("spec.csi.volumeHandle"),
            volume_attributes=fields.mapping("spec.csi.volumeAttributes"),
            finalizers=fields.texts("metadata.finalizers"),
            created=fields.text("metadata.creationTimestamp"),
        )

    @property
    def provisioned_by(self) -> str:
        """The provisioner that created it; "" for one that an admin created."""
        return self.annotations.get(names.PROVISIONED_BY, "")

    @property
    def namespace_uid(self) -> str:
        """The UID of the last owner's namespace; "" when it was not recorded."""
        return self.annotations.get(names.NAMESPACE_UID, "")

    @property
    def bound_by_controller(self) -> bool:
        """Whether the binder wrote the claimRef, so that it may remove it."""
        return names.BOUND_BY_CONTROLLER in self.annotations

    @property
    def pool_uuid(self) -> str:
        """The pool that has its bytes; "" for a volume of another driver."""
        return self.handle.partition(".")[0] if self.driver == names.DRIVER else ""

    def belongs_to(self, claim: Claim) -> bool:
        """
        Report whether its claimRef names this claim, by UID or as a reservation by name.

        Source: k8s.io/component-helpers, storage/volume, IsVolumeBoundToClaim.
        """
        ref = self.claim_ref
        return (
            ref is not None
            and (ref.namespace, ref.name) == (claim.namespace, claim.name)
            and ref.uid in {"", claim.uid}
        )

    def reaches(self, labels: Mapping[str, str]) -> bool:
        """Report whether a node with these labels can use the volume."""
        return self.node_affinity is None or self.node_affinity.matches(labels)


def _claim_ref(ref: Object) -> ClaimRef:
    return ClaimRef(str(ref.get("namespace") or ""), str(ref.get("name") or ""), str(ref.get("uid") or ""))
