"""What stands in a Table's cell where it is more than one field as it is."""

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
    """The field at a dotted path, None where there is none."""
    here: Any = obj
    for part in path.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def text(value: Any, absent: str = "") -> str:
    """A field as it is shown."""
    return absent if value is None or value == "" else str(value)


def phase(obj: Object) -> str:
    """Phase of a claim or volume."""
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else text(at(obj, "status.phase"))


def modes(names: Iterable[str] | None) -> str:
    """Access modes in short."""
    return ",".join(_MODES[mode] for mode in _MODES if mode in (names or ()))


def class_name(obj: Object) -> str:
    """A claim's or volume's class, by its old annotation or its field."""
    annotations = obj["metadata"].get("annotations", {})
    return text(annotations.get(CLASS_BETA) or at(obj, "spec.storageClassName"))


def claim_capacity(claim: Object) -> str:
    """What a bound claim got; an unbound one has none."""
    return text(at(claim, "status.capacity.storage")) if at(claim, "spec.volumeName") else ""


def claim_modes(claim: Object) -> str:
    """The modes a bound claim got."""
    return modes(at(claim, "status.accessModes")) if at(claim, "spec.volumeName") else ""


def volume_claim(volume: Object) -> str:
    """The claim a volume is kept for."""
    reference = at(volume, "spec.claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def storage_class_name(storage_class: Object) -> str:
    """The name, and whether it is the default."""
    name, annotations = storage_class["metadata"]["name"], storage_class["metadata"].get("annotations", {})
    default = "true" in (annotations.get(DEFAULT_CLASS), annotations.get(DEFAULT_CLASS_BETA))
    return f"{name} (default)" if default else str(name)


def set_ready(stateful_set: Object) -> str:
    """Ready replicas of the wanted ones."""
    return f"{at(stateful_set, 'status.readyReplicas') or 0}/{at(stateful_set, 'spec.replicas') or 0}"


def container_fields(stateful_set: Object, field: str) -> str:
    """One field of each container of a set's template."""
    return ",".join(text(each.get(field)) for each in at(stateful_set, "spec.template.spec.containers") or [])


def pod_ready(pod: Object) -> str:
    """Ready containers of all."""
    ready = sum(1 for each in at(pod, "status.containerStatuses") or [] if each.get("ready"))
    return f"{ready}/{len(at(pod, 'spec.containers') or [])}"


def pod_status(pod: Object) -> str:
    """The phase, or the more telling reason."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    shown = text(at(pod, "status.reason")) or text(at(pod, "status.phase"))
    for each in at(pod, "status.containerStatuses") or []:
        shown = at(each, "state.waiting.reason") or at(each, "state.terminated.reason") or shown
    return str(shown)


def pod_restarts(pod: Object) -> str:
    """Restarts of all containers."""
    return str(sum(each.get("restartCount", 0) for each in at(pod, "status.containerStatuses") or []))


def readiness_gates(pod: Object) -> str:
    """How many of a pod's readiness gates are open."""
    gates = at(pod, "spec.readinessGates") or []
    true = {each["type"] for each in at(pod, "status.conditions") or [] if each.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate.get('conditionType') in true)}/{len(gates)}" if gates else NONE


def node_status(node: Object) -> str:
    """Ready or not, and whether pods may come."""
    conditions = {each.get("type"): each.get("status") for each in at(node, "status.conditions") or []}
    ready = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    return f"{ready},SchedulingDisabled" if at(node, "spec.unschedulable") else ready


def node_roles(node: Object) -> str:
    """The roles its labels say."""
    labels = node["metadata"].get("labels", {})
    return ",".join(sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))) or NONE


def node_address(node: Object, wanted: str) -> str:
    """Its first address of one type."""
    addresses = at(node, "status.addresses") or []
    return next((str(each.get("address")) for each in addresses if each.get("type") == wanted), NONE)


def external_addresses(service: Object) -> str:
    """Where a Service can be reached from outside."""
    found = at(service, "spec.externalIPs") or []
    name = [at(service, "spec.externalName")] if at(service, "spec.type") == "ExternalName" else []
    return ",".join([*found, *(each for each in name if each)]) or NONE


def service_ports(service: Object) -> str:
    """Ports and protocols."""
    ports = at(service, "spec.ports") or []
    return ",".join(f"{each.get('port')}/{each.get('protocol', 'TCP')}" for each in ports) or NONE


def labels(selector: Mapping[str, str] | None) -> str:
    """A selector on one line."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or NONE


def token_requests(driver: Object) -> str:
    """The audiences a driver wants tokens for."""
    audiences = [text(each.get("audience")) for each in at(driver, "spec.tokenRequests") or []]
    return ",".join(audiences) if audiences else "<unset>"


def last_seen(event: Object) -> str | None:
    """When an Event was last reported."""
    found = at(event, "series.lastObservedTime") or event.get("lastTimestamp") or event.get("firstTimestamp")
    return text(found or event.get("eventTime")) or None


def event_object(event: Object) -> str:
    """What the Event is about."""
    about = event.get("involvedObject", {})
    kind, name = text(about.get("kind")).lower(), text(about.get("name"))
    return f"{kind}/{name}" if name else kind


def event_source(event: Object) -> str:
    """Who reported it, and from where."""
    source = event.get("source", {})
    component = source.get("component") or event.get("reportingComponent")
    return ", ".join(text(each) for each in (component, source.get("host")) if each)
