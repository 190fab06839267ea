"""A PersistentVolumeClaim: what is wanted."""

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
    The facts of a claim that any decision looks at.

    `class_name` is the effective one: the beta annotation wins over the field, and a claim without either has ""
    (`has_class` tells the two apart, for the default class).
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
    """UIDs of its owners."""
    capacity: Quantity
    """What it has, as its status says; its filesystem included."""
    allocated: Quantity | None
    """What it was last set out to grow to; None when it never was."""
    resize_status: str
    """Where its growing stands: ``ControllerResizeInProgress`` and so on; "" when nothing is going on."""
    current_attributes_class: str
    modify_status: str
    """Where the change of its VolumeAttributesClass stands: Pending, InProgress, Infeasible; "" when it is over."""
    modify_target: str
    conditions: Mapping[str, str]
    """The conditions that are true, and their messages."""

    @classmethod
    def of(cls, obj: Object) -> "Claim":
        """Read an API object; raises InvalidObject."""
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
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def selected_node(self) -> str:
        """The node the scheduler chose for a claim that waits for its first consumer."""
        return self.annotations.get(names.SELECTED_NODE, "")

    @property
    def forgets(self) -> bool:
        """An admin gave it up that the claim gets a former volume back."""
        return bool(self.uid) and self.annotations.get(names.FORGET) == self.uid

    @property
    def refusal(self) -> Refusal | None:
        """The last refusal of its volume, if one is on record; whether it still holds says `binding.refused`."""
        return refusal.read(self.annotations.get(names.LAST_REFUSAL, ""))

    @property
    def bind_completed(self) -> bool:
        """The binder once finished; the annotation's presence counts, its value does not."""
        return names.BIND_COMPLETED in self.annotations

    @property
    def bound_by_controller(self) -> bool:
        """The binder chose the volume, not the user."""
        return names.BOUND_BY_CONTROLLER in self.annotations

    @property
    def storage_provisioner(self) -> str:
        """Who has been asked to provision."""
        current = self.annotations.get(names.STORAGE_PROVISIONER)
        return current if current is not None else self.annotations.get(names.STORAGE_PROVISIONER_BETA, "")


def _allocated(fields: Fields) -> Quantity | None:
    known = fields.raw("status.allocatedResources.storage") is not None
    return fields.quantity("status.allocatedResources.storage", ZERO) if known else None
