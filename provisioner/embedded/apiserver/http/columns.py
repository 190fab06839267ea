"""
The Table columns of every kind, as `kubectl get` of Kubernetes 1.37 prints them.

Source of their names, their order and which are wide: pkg/printers/internalversion/printers.go in k8s.io/kubernetes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from provisioner.embedded.apiserver.http import cell_values
from provisioner.embedded.apiserver.http.age import age
from provisioner.embedded.apiserver.http.cell_values import NONE, at, text
from provisioner.model import kinds
from provisioner.model.kinds import Kind, Object


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the function that returns its cell, and whether only `-o wide` prints it."""

    name: str
    cell: Callable[[Object], Any]
    wide: bool = False
    type: str = "string"
    description: str = ""


def _column(name: str, path: str, absent: str = "", *, wide: bool = False) -> Column:
    """Return a column that prints one field unchanged."""
    return Column(name, lambda obj: text(at(obj, path), absent), wide=wide)


_NAME: Final = Column("Name", lambda obj: obj["metadata"]["name"])
_AGE: Final = Column("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")))

COLUMNS: Final[dict[Kind, tuple[Column, ...]]] = {
    kinds.NAMESPACE: (_NAME, _column("Status", "status.phase"), _AGE),
    kinds.NODE: (
        _NAME,
        Column("Status", cell_values.node_status),
        Column("Roles", cell_values.node_roles),
        _AGE,
        _column("Version", "status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", lambda obj: cell_values.node_address(obj, "InternalIP"), wide=True),
        Column("External-IP", lambda obj: cell_values.node_address(obj, "ExternalIP"), wide=True),
        _column("OS-Image", "status.nodeInfo.osImage", "<unknown>", wide=True),
        _column("Kernel-Version", "status.nodeInfo.kernelVersion", "<unknown>", wide=True),
        _column("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", "<unknown>", wide=True),
    ),
    kinds.POD: (
        _NAME,
        Column("Ready", cell_values.pod_ready),
        Column("Status", cell_values.pod_status),
        Column("Restarts", cell_values.pod_restarts),
        _AGE,
        _column("IP", "status.podIP", NONE, wide=True),
        _column("Node", "spec.nodeName", NONE, wide=True),
        _column("Nominated Node", "status.nominatedNodeName", NONE, wide=True),
        Column("Readiness Gates", cell_values.readiness_gates, wide=True),
    ),
    kinds.SERVICE: (
        _NAME,
        _column("Type", "spec.type"),
        _column("Cluster-IP", "spec.clusterIP", NONE),
        Column("External-IP", cell_values.external_addresses),
        Column("Port(s)", cell_values.service_ports),
        _AGE,
        Column("Selector", lambda obj: cell_values.labels(at(obj, "spec.selector")), wide=True),
    ),
    kinds.EVENT: (
        Column("Last Seen", lambda obj: age(cell_values.last_seen(obj))),
        _column("Type", "type"),
        _column("Reason", "reason"),
        Column("Object", cell_values.event_object),
        _column("Subobject", "involvedObject.fieldPath", wide=True),
        Column("Source", cell_values.event_source, wide=True),
        _column("Message", "message"),
        Column("First Seen", lambda obj: age(obj.get("firstTimestamp") or obj.get("eventTime")), wide=True),
        Column("Count", lambda obj: obj.get("count", 1), wide=True),
        Column("Name", lambda obj: obj["metadata"]["name"], wide=True),
    ),
    kinds.CLAIM: (
        _NAME,
        Column("Status", cell_values.phase),
        _column("Volume", "spec.volumeName"),
        Column("Capacity", cell_values.claim_capacity),
        Column("Access Modes", cell_values.claim_modes),
        Column("StorageClass", cell_values.class_name),
        _column("VolumeAttributesClass", "spec.volumeAttributesClassName", "<unset>"),
        _AGE,
        _column("VolumeMode", "spec.volumeMode", "<unset>", wide=True),
    ),
    kinds.VOLUME: (
        _NAME,
        _column("Capacity", "spec.capacity.storage"),
        Column("Access Modes", lambda obj: cell_values.modes(at(obj, "spec.accessModes"))),
        _column("Reclaim Policy", "spec.persistentVolumeReclaimPolicy"),
        Column("Status", cell_values.phase),
        Column("Claim", cell_values.volume_claim),
        Column("StorageClass", cell_values.class_name),
        _column("VolumeAttributesClass", "spec.volumeAttributesClassName", "<unset>"),
        _column("Reason", "status.reason"),
        _AGE,
        _column("VolumeMode", "spec.volumeMode", "<unset>", wide=True),
    ),
    kinds.STATEFUL_SET: (
        _NAME,
        Column("Ready", cell_values.set_ready),
        _AGE,
        Column("Containers", lambda obj: cell_values.container_fields(obj, "name"), wide=True),
        Column("Images", lambda obj: cell_values.container_fields(obj, "image"), wide=True),
    ),
    kinds.STORAGE_CLASS: (
        Column("Name", cell_values.storage_class_name),
        _column("Provisioner", "provisioner"),
        _column("ReclaimPolicy", "reclaimPolicy"),
        _column("VolumeBindingMode", "volumeBindingMode"),
        Column("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion"))),
        _AGE,
    ),
    kinds.CSI_DRIVER: (
        _NAME,
        Column("AttachRequired", lambda obj: at(obj, "spec.attachRequired") is not False, type="boolean"),
        Column("PodInfoOnMount", lambda obj: bool(at(obj, "spec.podInfoOnMount")), type="boolean"),
        Column("StorageCapacity", lambda obj: bool(at(obj, "spec.storageCapacity")), type="boolean"),
        Column("TokenRequests", cell_values.token_requests),
        Column("RequiresRepublish", lambda obj: bool(at(obj, "spec.requiresRepublish")), type="boolean"),
        Column("Modes", lambda obj: ",".join(at(obj, "spec.volumeLifecycleModes") or []) or NONE),
        _AGE,
    ),
    kinds.CSI_NODE: (
        _NAME,
        Column("Drivers", lambda obj: len(at(obj, "spec.drivers") or []), type="integer"),
        _AGE,
    ),
    kinds.CSI_STORAGE_CAPACITY: (
        _NAME,
        Column("Created At", lambda obj: obj["metadata"].get("creationTimestamp"), type="date"),
    ),
    kinds.ATTRIBUTES_CLASS: (_NAME, _column("DriverName", "driverName"), _AGE),
    kinds.LEASE: (_NAME, _column("Holder", "spec.holderIdentity"), _AGE),
}
