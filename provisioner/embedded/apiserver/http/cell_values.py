"""Values of Table cells that are computed from more than one field."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from provisioner.model.kinds import Object
from provisioner.model.names import CLASS_BETA, DEFAULT_CLASS, DEFAULT_CLASS_BETA

NONE: Final = "<none>"
_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_ROLE: Final = "node-role.kubernetes.io/"


def at(obj: Object, path: str) -> Any:
    """Return the field at a dotted path, None if it is absent."""
    current: Any = obj
    for part in path.split("."):
        current = current.get(part) if isinstance(current, Mapping) else None
    return current


def text(value: Any, absent: str = "") -> str:
    """Return a field as text; `absent` replaces a missing or empty one."""
    return absent if value is None or value == "" else str(value)


def phase(obj: Object) -> str:
    """Return the phase of a claim or volume, Terminating while it is being deleted."""
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else text(at(obj, "status.phase"))


def modes(names: Iterable[str] | None) -> str:
    """Return access modes in their short form, such as RWO."""
    return ",".join(_MODES[mode] for mode in _MODES if mode in (names or ()))


def class_name(obj: Object) -> str:
    """Return the class of a claim or volume from its beta annotation or its field."""
    annotations = obj["metadata"].get("annotations", {})
    return text(annotations.get(CLASS_BETA) or at(obj, "spec.storageClassName"))


def claim_capacity(claim: Object) -> str:
    """Return the capacity of a bound claim, empty for an unbound one."""
    return text(at(claim, "status.capacity.storage")) if at(claim, "spec.volumeName") else ""


def claim_modes(claim: Object) -> str:
    """Return the access modes of a bound claim, empty for an unbound one."""
    return modes(at(claim, "status.accessModes")) if at(claim, "spec.volumeName") else ""


def volume_claim(volume: Object) -> str:
    """Return namespace and name of the claim in a volume's claimRef."""
    reference = at(volume, "spec.claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def storage_class_name(storage_class: Object) -> str:
    """Return the name of a StorageClass, marked if it is the default."""
    name, annotations = storage_class["metadata"]["name"], storage_class["metadata"].get("annotations", {})
    default = "true" in (annotations.get(DEFAULT_CLASS), annotations.get(DEFAULT_CLASS_BETA))
    return f"{name} (default)" if default else str(name)


def set_ready(stateful_set: Object) -> str:
    """Return ready and desired replicas of a StatefulSet."""
    return f"{at(stateful_set, 'status.readyReplicas') or 0}/{at(stateful_set, 'spec.replicas') or 0}"


def container_fields(stateful_set: Object, field: str) -> str:
    """Return one field of each container in a StatefulSet's pod template."""
    return ",".join(text(each.get(field)) for each in at(stateful_set, "spec.template.spec.containers") or [])


def pod_ready(pod: Object) -> str:
    """Return the number of ready containers and of all containers of a pod."""
    ready = sum(1 for each in at(pod, "status.containerStatuses") or [] if each.get("ready"))
    return f"{ready}/{len(at(pod, 'spec.containers') or [])}"


def pod_status(pod: Object) -> str:
    """Return the phase of a pod, or the reason if there is one."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    status = text(at(pod, "status.reason")) or text(at(pod, "status.phase"))
    for each in at(pod, "status.containerStatuses") or []:
        status = at(each, "state.waiting.reason") or at(each, "state.terminated.reason") or status
    return str(status)


def pod_restarts(pod: Object) -> str:
    """Return the number of restarts of all containers of a pod."""
    return str(sum(each.get("restartCount", 0) for each in at(pod, "status.containerStatuses") or []))


def readiness_gates(pod: Object) -> str:
    """Return the number of true readiness gates and of all readiness gates of a pod."""
    gates = at(pod, "spec.readinessGates") or []
    true = {each["type"] for each in at(pod, "status.conditions") or [] if each.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate.get('conditionType') in true)}/{len(gates)}" if gates else NONE


def node_status(node: Object) -> str:
    """Return whether a node is ready, and whether it is unschedulable."""
    conditions = {each.get("type"): each.get("status") for each in at(node, "status.conditions") or []}
    ready = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    return f"{ready},SchedulingDisabled" if at(node, "spec.unschedulable") else ready


def node_roles(node: Object) -> str:
    """Return the roles in a node's labels."""
    labels = node["metadata"].get("labels", {})
    return ",".join(sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))) or NONE


def node_address(node: Object, address_type: str) -> str:
    """Return a node's first address of one type."""
    addresses = at(node, "status.addresses") or []
    return next((str(each.get("address")) for each in addresses if each.get("type") == address_type), NONE)


def external_addresses(service: Object) -> str:
    """Return the external addresses of a Service."""
    found = at(service, "spec.externalIPs") or []
    name = [at(service, "spec.externalName")] if at(service, "spec.type") == "ExternalName" else []
    return ",".join([*found, *(each for each in name if each)]) or NONE


def service_ports(service: Object) -> str:
    """Return ports and protocols of a Service."""
    ports = at(service, "spec.ports") or []
    return ",".join(f"{each.get('port')}/{each.get('protocol', 'TCP')}" for each in ports) or NONE


def labels(selector: Mapping[str, str] | None) -> str:
    """Return a selector on one line."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or NONE


def token_requests(driver: Object) -> str:
    """Return the audiences for which a CSIDriver requests tokens."""
    audiences = [text(each.get("audience")) for each in at(driver, "spec.tokenRequests") or []]
    return ",".join(audiences) if audiences else "<unset>"


def last_seen(event: Object) -> str | None:
    """Return the time at which an Event was last reported, None if it has none."""
    found = at(event, "series.lastObservedTime") or event.get("lastTimestamp") or event.get("firstTimestamp")
    return text(found or event.get("eventTime")) or None


def event_object(event: Object) -> str:
    """Return kind and name of the object of an Event."""
    about = event.get("involvedObject", {})
    kind, name = text(about.get("kind")).lower(), text(about.get("name"))
    return f"{kind}/{name}" if name else kind


def event_source(event: Object) -> str:
    """Return component and host that reported an Event."""
    source = event.get("source", {})
    component = source.get("component") or event.get("reportingComponent")
    return ", ".join(text(each) for each in (component, source.get("host")) if each)
