"""
Validation of objects: the rules of Kubernetes that matter for storage.

Source: pkg/apis/core, apps and storage/validation in k8s.io/kubernetes. Rules about containers, networks and
security are left to a cluster that runs containers.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from provisioner.embedded.apiserver.store.metadata import SUBDOMAIN
from provisioner.embedded.apiserver.store.problems import Problem, forbidden, invalid, required, unsupported
from provisioner.model import kinds
from provisioner.model.kinds import Json, Kind
from provisioner.model.names import CLASS_BETA
from provisioner.model.quantity import Quantity

ACCESS_MODES: Final = frozenset({"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"})
VOLUME_MODES: Final = frozenset({"Filesystem", "Block"})
NOT_SOURCES: Final = frozenset({
    "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
    "volumeMode", "nodeAffinity", "volumeAttributesClassName",
})  # fmt: skip
"""Fields of a PersistentVolume's spec that are not its volume source."""

Found = Iterator[Problem]


def problems(kind: Kind, obj: Json) -> Found:
    """Yield every problem of an object of this kind, except those of its metadata."""
    if rule := _RULES.get(kind):
        yield from rule(obj)


def sources(spec: Json) -> dict[str, Any]:
    """Return the volume sources in a PersistentVolume's spec: one entry if it is valid."""
    return {name: value for name, value in spec.items() if name not in NOT_SOURCES}


def _one_of(value: Any, valid: Iterable[str], field: str) -> Found:
    if value is not None and value not in (known := frozenset(valid)):
        yield unsupported(field, value, known)


def _modes(modes: list[str], field: str) -> Found:
    if not modes:
        yield required(field, "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield unsupported(field, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden(field, "may not use ReadWriteOncePod with other access modes")


def _size(resources: Json, field: str, *, subject: str = "") -> Found:
    if "storage" not in resources:
        yield required(f"{field}[storage]", subject)
    elif Quantity.parse(resources["storage"]).value <= 0:
        yield invalid(f"{field}[storage]", resources["storage"], "must be greater than zero")


def claim_spec(spec: Json, path: str) -> Found:
    """Yield every problem of a claim's spec, also of a claim template's."""
    yield from _modes(spec.get("accessModes", []), f"{path}.accessModes")
    yield from _size(spec.get("resources", {}).get("requests", {}), f"{path}.resources")
    yield from _one_of(spec.get("volumeMode"), VOLUME_MODES, f"{path}.volumeMode")
    yield from _class_name(spec, path)
    yield from _label_selector(spec.get("selector"), f"{path}.selector")


def _claim(obj: Json) -> Found:
    spec = obj.get("spec", {})
    yield from claim_spec(spec, "spec")
    if CLASS_BETA in obj["metadata"].get("annotations", {}) and "storageClassName" in spec:
        yield forbidden("spec.storageClassName", f"may not be set together with the annotation {CLASS_BETA}")


def _class_name(spec: Json, path: str) -> Found:
    name = spec.get("storageClassName")
    if name and not SUBDOMAIN.fullmatch(name):
        yield invalid(f"{path}.storageClassName", name, "is not the name of a class")


def _label_selector(selector: Json | None, path: str) -> Found:
    for index, each in enumerate((selector or {}).get("matchExpressions", [])):
        where, operator = f"{path}.matchExpressions[{index}]", each.get("operator")
        if operator in {"In", "NotIn"} and not each.get("values"):
            yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in {"Exists", "DoesNotExist"} and each.get("values"):
            yield forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")


def _volume(obj: Json) -> Found:
    spec = obj.get("spec", {})
    if not spec.get("capacity"):
        yield required("spec.capacity")
    else:
        yield from _size(spec["capacity"], "spec.capacity")
    yield from _modes(spec.get("accessModes", []), "spec.accessModes")
    yield from _one_of(spec.get("volumeMode"), VOLUME_MODES, "spec.volumeMode")
    yield from _one_of(
        spec.get("persistentVolumeReclaimPolicy"), ("Retain", "Delete", "Recycle"), "spec.persistentVolumeReclaimPolicy"
    )
    yield from _class_name(spec, "spec")
    found = sources(spec)
    if not found:
        yield required("spec", "must specify a volume type")
    for extra in list(found)[1:]:
        yield forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    if "csi" in spec:
        for field in ("driver", "volumeHandle"):
            if not spec["csi"].get(field):
                yield required(f"spec.csi.{field}")
    affinity = spec.get("nodeAffinity")
    if affinity is not None and "required" not in affinity:
        yield required("spec.nodeAffinity.required", "must specify required node constraints")
    if "local" in spec and affinity is None:
        yield required("spec.nodeAffinity", "Local volume requires node affinity")
    if "claimRef" in spec and not (spec["claimRef"].get("name") and spec["claimRef"].get("namespace")):
        yield required("spec.claimRef", "name and namespace must both be set")


def _storage_class(obj: Json) -> Found:
    if not obj.get("provisioner"):
        yield required("provisioner")
    yield from _one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy")
    yield from _one_of(obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode")
    for key in obj.get("parameters", {}):
        if not key:
            yield invalid("parameters", key, "field must not be empty.")


def _pod_spec(spec: Json, path: str) -> Found:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names = set()
    for index, container in enumerate(spec.get("containers", [])):
        where = f"{path}.containers[{index}]"
        for field in ("name", "image"):
            if not container.get(field):
                yield required(f"{where}.{field}")
        if container.get("name") in names:
            yield Problem(f"{where}.name", "FieldValueDuplicate", f'Duplicate value: "{container["name"]}"')
        names.add(container.get("name"))
    yield from _pod_volumes(spec.get("volumes", []), f"{path}.volumes")
    yield from _one_of(spec.get("restartPolicy"), ("Always", "OnFailure", "Never"), f"{path}.restartPolicy")


def _pod_volumes(volumes: list[Json], path: str) -> Found:
    names = set()
    for index, volume in enumerate(volumes):
        where, name = f"{path}[{index}]", volume.get("name")
        if not name:
            yield required(f"{where}.name")
        if name in names:
            yield Problem(f"{where}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"')
        names.add(name)
        if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("claimName"):
            yield required(f"{where}.persistentVolumeClaim.claimName")


def _pod(obj: Json) -> Found:
    yield from _pod_spec(obj.get("spec", {}), "spec")


def _stateful_set(obj: Json) -> Found:
    spec = obj.get("spec", {})
    selector, labels = spec.get("selector"), spec["template"].get("metadata", {}).get("labels", {})
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for statefulset")
    elif any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _label_selector(selector, "spec.selector")
    for field, value in (("replicas", spec["replicas"]), ("ordinals.start", spec.get("ordinals", {}).get("start", 0))):
        if value < 0:
            yield invalid(f"spec.{field}", value, "must be greater than or equal to 0")
    yield from _one_of(spec["podManagementPolicy"], ("OrderedReady", "Parallel"), "spec.podManagementPolicy")
    yield from _one_of(spec["updateStrategy"].get("type"), ("RollingUpdate", "OnDelete"), "spec.updateStrategy")
    retention = "persistentVolumeClaimRetentionPolicy"
    for field in ("whenDeleted", "whenScaled"):
        yield from _one_of(spec[retention].get(field), ("Retain", "Delete"), f"spec.{retention}.{field}")
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")
    if spec["template"]["spec"].get("restartPolicy") != "Always":
        yield unsupported("spec.template.spec.restartPolicy", spec["template"]["spec"].get("restartPolicy"), ["Always"])


def _service(obj: Json) -> Found:
    spec = obj.get("spec", {})
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    for index, port in enumerate(spec.get("ports", [])):
        if not 1 <= port.get("port", 0) <= 65535:
            yield invalid(f"spec.ports[{index}].port", port.get("port", 0), "must be between 1 and 65535, inclusive")
    yield from _one_of(spec.get("type"), ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"), "spec.type")


def _csi_node(obj: Json) -> Found:
    for index, driver in enumerate(obj.get("spec", {}).get("drivers", [])):
        for field in ("name", "nodeID"):
            if not driver.get(field):
                yield required(f"spec.drivers[{index}].{field}")


def _capacity(obj: Json) -> Found:
    if not obj.get("storageClassName"):
        yield required("storageClassName")


def _attributes_class(obj: Json) -> Found:
    if not obj.get("driverName"):
        yield required("driverName")
    if not obj.get("parameters"):
        yield required("parameters", "must contain at least one key/value pair")


def _event(obj: Json) -> Found:
    about = obj.get("involvedObject", {}).get("namespace", "")
    namespace = obj["metadata"]["namespace"]
    if namespace != (about or "default"):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")


_RULES: Final[dict[Kind, Callable[[Json], Found]]] = {
    kinds.CLAIM: _claim,
    kinds.VOLUME: _volume,
    kinds.STORAGE_CLASS: _storage_class,
    kinds.POD: _pod,
    kinds.STATEFUL_SET: _stateful_set,
    kinds.SERVICE: _service,
    kinds.CSI_NODE: _csi_node,
    kinds.CSI_STORAGE_CAPACITY: _capacity,
    kinds.ATTRIBUTES_CLASS: _attributes_class,
    kinds.EVENT: _event,
}
