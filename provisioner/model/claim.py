"""A PersistentVolumeClaim: the requested storage."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model import names, refusal
from provisioner.model.data_source import DataSource
from provisioner.model.fields import Fields
from provisioner.model.kinds import Object
from provisioner.model.quantity import ZERO, Quantity
from provisioner.model.refusal import Refusal
from provisioner.model.selector import LabelSelector


@dataclass(frozen=True, slots=True)
class Claim:
    """
    The fields of a claim that decisions use.

    :ivar class_name: the effective class: the beta annotation overrides the field, and a claim with neither has ""
    :ivar has_class: whether the claim names a class, even ""; without one it gets the default class
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    class_name: str
    has_class: bool
    request: Quantity
    modes: tuple[str, ...]
    volume_mode: str
    attributes_class: str
    selector: LabelSelector | None
    data_source: DataSource | None
    volume_name: str
    phase: str
    deleting: bool
    finalizers: tuple[str, ...]
    created: str
    owners: tuple[str, ...]
    """The UIDs of its owners."""
    capacity: Quantity
    """Its capacity in the status, which includes the filesystem's expansion."""
    allocated: Quantity | None
    """The size of its last expansion; None when it was never expanded."""
    resize_status: str
    """The status of its expansion, such as ``ControllerResizeInProgress``; "" when none is in progress."""
    current_attributes_class: str
    modify_status: str
    """The status of its modification: Pending, InProgress or Infeasible; "" when none is in progress."""
    modify_target: str
    conditions: Mapping[str, str]
    """The conditions with status True, and their messages."""

    @classmethod
    def of(cls, obj: Object) -> "Claim":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("claim", obj)
        annotations = fields.mapping("metadata.annotations")
        beta = annotations.get(names.CLASS_BETA)
        return cls(
            namespace=fields.text("metadata.namespace", "default"),
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            resource_version=fields.text("metadata.resourceVersion"),
            labels=fields.mapping("metadata.labels"),
            annotations=annotations,
            class_name=beta if beta is not None else fields.text("spec.storageClassName"),
            has_class=beta is not None or fields.raw("spec.storageClassName") is not None,
            request=fields.quantity("spec.resources.requests.storage", ZERO),
            modes=fields.texts("spec.accessModes"),
            volume_mode=fields.text("spec.volumeMode", "Filesystem"),
            attributes_class=fields.text("spec.volumeAttributesClassName"),
            selector=fields.read("spec.selector", LabelSelector.of),
            data_source=DataSource.of_claim(fields),
            volume_name=fields.text("spec.volumeName"),
            phase=fields.text("status.phase", "Pending"),
            deleting=fields.raw("metadata.deletionTimestamp") is not None,
            finalizers=fields.texts("metadata.finalizers"),
            created=fields.text("metadata.creationTimestamp"),
            owners=tuple(str(each.get("uid", "")) for each in fields.objects("metadata.ownerReferences")),
            capacity=fields.quantity("status.capacity.storage", ZERO),
            allocated=_allocated(fields),
            resize_status=fields.text("status.allocatedResourceStatuses.storage"),
            current_attributes_class=fields.text("status.currentVolumeAttributesClassName"),
            modify_status=fields.text("status.modifyVolumeStatus.status"),
            modify_target=fields.text("status.modifyVolumeStatus.targetVolumeAttributesClassName"),
            conditions={
                str(each.get("type", "")): str(each.get("message") or "")
                for each in fields.objects("status.conditions")
                if each.get("status") == "True"
            },
        )

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def selected_node(self) -> str:
        """The node the scheduler chose for a claim that waits for its first consumer."""
        return self.annotations.get(names.SELECTED_NODE, "")

    @property
    def forgets(self) -> bool:
        """Whether an admin decided that the claim does not adopt a former volume (`mooring forget`)."""
        return bool(self.uid) and self.annotations.get(names.FORGET) == self.uid

    @property
    def refusal(self) -> Refusal | None:
        """The last recorded refusal of its volume; `binding.refused` decides whether it is still in force."""
        return refusal.read(self.annotations.get(names.LAST_REFUSAL, ""))

    @property
    def bind_completed(self) -> bool:
        """Whether the binder has completed the binding once; the annotation's value is ignored."""
        return names.BIND_COMPLETED in self.annotations

    @property
    def bound_by_controller(self) -> bool:
        """Whether the binder chose the volume, not the user."""
        return names.BOUND_BY_CONTROLLER in self.annotations

    @property
    def storage_provisioner(self) -> str:
        """The provisioner that was asked to provision a volume."""
        current = self.annotations.get(names.STORAGE_PROVISIONER)
        return current if current is not None else self.annotations.get(names.STORAGE_PROVISIONER_BETA, "")


def _allocated(fields: Fields) -> Quantity | None:
    known = fields.raw("status.allocatedResources.storage") is not None
    return fields.quantity("status.allocatedResources.storage", ZERO) if known else None
