"""
Defaults of each kind, and the initial state of new objects.

Sources: pkg/apis/*/v1/defaults.go and the create strategies of pkg/registry in k8s.io/kubernetes; the admission plugin
DefaultStorageClass. Nothing is allocated for Services: a Service without `clusterIP` has none here.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from provisioner.embedded.apiserver.store.lifecycle import NAMESPACE_FINALIZER, WITH_STATUS
from provisioner.model import kinds
from provisioner.model.kinds import Json, Kind, Object
from provisioner.model.names import CLAIM_PROTECTION, CLASS_BETA, DEFAULT_CLASS, DEFAULT_CLASS_BETA, VOLUME_PROTECTION

_FIRST_STATUS: Final[dict[Kind, Json]] = {
    kinds.SERVICE: {"loadBalancer": {}},
    kinds.STATEFUL_SET: {"replicas": 0, "availableReplicas": 0},
}
_FIRST_PHASE: Final = {kinds.CLAIM: "Pending", kinds.VOLUME: "Pending", kinds.POD: "Pending", kinds.NAMESPACE: "Active"}
EVENT_LIFETIME_SECONDS: Final = 3600
_PROTECTION: Final = {kinds.CLAIM: CLAIM_PROTECTION, kinds.VOLUME: VOLUME_PROTECTION}


def default(kind: Kind, obj: Json) -> Json:
    """Set the defaults of the kind in `obj` where a field is absent, and return it."""
    if fill := _DEFAULTS.get(kind):
        fill(obj.setdefault("spec", {}) if kind not in _WITHOUT_SPEC else obj)
    return obj


def admit(kind: Kind, obj: Json, *, classes: Iterable[Object]) -> Json:
    """Set a new object's phase, its protection finalizer and a claim's default class in `obj`, and return it."""
    metadata = obj["metadata"]
    if kind in WITH_STATUS and kind is not kinds.NODE:
        obj.pop("status", None)
        if phase := _FIRST_PHASE.get(kind):
            obj["status"] = {"phase": phase}
        elif first := _FIRST_STATUS.get(kind):
            obj["status"] = dict(first)
    if (protection := _PROTECTION.get(kind)) and protection not in metadata.get("finalizers", []):
        metadata["finalizers"] = [*metadata.get("finalizers", []), protection]
    if kind is kinds.CLAIM and (found := _default_class(obj, classes)):
        obj["spec"]["storageClassName"] = found
    if kind is kinds.NAMESPACE:
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
        obj["spec"] = {"finalizers": [NAMESPACE_FINALIZER]}
    return obj


def last_seen(event: Object) -> str:
    """Return the time at which an Event was created or last repeated."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"]["creationTimestamp"])
    return max(str(each) for each in times if each)


def _default_class(claim: Object, classes: Iterable[Object]) -> str:
    """Return the newest default class, of equally new ones the first by name; "" if set already or there is none."""
    if "storageClassName" in claim.get("spec", {}) or CLASS_BETA in claim["metadata"].get("annotations", {}):
        return ""
    marked = sorted((each["metadata"] for each in classes if _is_default(each)), key=lambda each: str(each["name"]))
    newest = sorted(marked, key=lambda each: str(each["creationTimestamp"]), reverse=True)
    return str(newest[0]["name"]) if newest else ""


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations", {})
    return "true" in (annotations.get(DEFAULT_CLASS), annotations.get(DEFAULT_CLASS_BETA))


def _fill(target: Json, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _claim(spec: Json) -> None:
    _fill(spec, volumeMode="Filesystem")


def _volume(spec: Json) -> None:
    _fill(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


def _storage_class(obj: Json) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _csi_driver(spec: Json) -> None:
    _fill(
        spec,
        attachRequired=True, podInfoOnMount=False, storageCapacity=False, requiresRepublish=False, seLinuxMount=False,
        fsGroupPolicy="ReadWriteOnceWithFSType", volumeLifecycleModes=["Persistent"],
    )  # fmt: skip


def _service(spec: Json) -> None:
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    if spec.get("clusterIP") == "None":
        _fill(spec, clusterIPs=["None"], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports", []):
        _fill(port, protocol="TCP")
        _fill(port, targetPort=port.get("port"))


def _pod(spec: Json) -> None:
    _fill(spec, enableServiceLinks=True)
    _pod_template(spec)


def _pod_template(spec: Json) -> None:
    _fill(
        spec,
        restartPolicy="Always", dnsPolicy="ClusterFirst", terminationGracePeriodSeconds=30, securityContext={},
        schedulerName="default-scheduler",
    )  # fmt: skip
    for container in (*spec.get("initContainers", []), *spec.get("containers", [])):
        image = container.get("image", "")
        tag = image.rpartition("/")[2].partition(":")[2]
        pull = "Always" if "@" not in image and tag in {"", "latest"} else "IfNotPresent"
        _fill(
            container,
            imagePullPolicy=pull, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File",
            resources={},
        )  # fmt: skip
        for port in container.get("ports", []):
            _fill(port, protocol="TCP")


def _stateful_set(spec: Json) -> None:
    _fill(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    _fill(spec, updateStrategy={}, persistentVolumeClaimRetentionPolicy={})
    _fill(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _fill(spec["updateStrategy"], rollingUpdate={})
        _fill(spec["updateStrategy"]["rollingUpdate"], partition=0, maxUnavailable=1)
    _fill(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    _pod_template(spec.setdefault("template", {}).setdefault("spec", {}))
    for template in spec.get("volumeClaimTemplates", []):
        _fill(template, apiVersion=kinds.CLAIM.api_version, kind=kinds.CLAIM.name, status={"phase": "Pending"})
        _claim(template.setdefault("spec", {}))


_DEFAULTS: Final[dict[Kind, Callable[[Json], None]]] = {
    kinds.CLAIM: _claim,
    kinds.VOLUME: _volume,
    kinds.STORAGE_CLASS: _storage_class,
    kinds.CSI_DRIVER: _csi_driver,
    kinds.SERVICE: _service,
    kinds.POD: _pod,
    kinds.STATEFUL_SET: _stateful_set,
}
_WITHOUT_SPEC: Final = frozenset({kinds.STORAGE_CLASS})
