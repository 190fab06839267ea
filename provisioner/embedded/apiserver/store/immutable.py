"""
Fields that are immutable once set.

Source: the ValidateUpdate functions of pkg/apis/core, apps and storage/validation in k8s.io/kubernetes.
"""

from collections.abc import Callable, Iterator
from typing import Final

from provisioner.embedded.apiserver.store.problems import Problem, forbidden, immutable
from provisioner.embedded.apiserver.store.rules import sources
from provisioner.model import kinds
from provisioner.model.kinds import Json, Kind
from provisioner.model.quantity import Quantity

Found = Iterator[Problem]

_SET_FIXED: Final = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def problems(kind: Kind, old: Json, new: Json) -> Found:
    """Yield a problem for every change that is not allowed."""
    if rule := _RULES.get(kind):
        yield from rule(old, new)


def expands(old: Json, new: Json) -> bool:
    """Report whether a claim requests more storage than before."""
    return _request(new) > _request(old)


def _request(claim: Json) -> Quantity:
    return Quantity.parse(claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0"))


def _capacity_of(claim: Json) -> Quantity:
    return Quantity.parse((claim.get("status", {}).get("capacity") or {}).get("storage", "0"))


def _claim(old: Json, new: Json) -> Found:
    was, now = dict(old["spec"]), dict(new["spec"])
    bound = old.get("status", {}).get("phase") == "Bound"
    if not was.get("volumeName"):
        was["volumeName"] = now.get("volumeName")
    if "storageClassName" not in was:
        was["storageClassName"] = now.get("storageClassName")
    if bound or was.get("resources") == now.get("resources"):
        was["resources"] = now.get("resources")
    for spec in (was, now) if bound else ():
        spec.pop("volumeAttributesClassName", None)
    if _given(was) != _given(now):
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield forbidden("spec", detail)
    elif _request(new) < _request(old) and _request(new) <= _capacity_of(old):
        # A lower request recovers from an expansion that cannot succeed; below the capacity it would shrink the volume.
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _given(spec: Json) -> Json:
    return {key: value for key, value in spec.items() if value is not None}


def _volume(old: Json, new: Json) -> Found:
    was, now = old["spec"], new["spec"]
    if sources(was) != sources(now):
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if was.get("volumeMode") != now.get("volumeMode"):
        yield immutable("spec.volumeMode", now.get("volumeMode"))
    if "nodeAffinity" in was and was["nodeAffinity"] != now.get("nodeAffinity"):
        yield immutable("spec.nodeAffinity", now.get("nodeAffinity"))


def _stateful_set(old: Json, new: Json) -> Found:
    for field in _SET_FIXED:
        if old["spec"].get(field) != new["spec"].get(field):
            yield immutable(f"spec.{field}", new["spec"].get(field))


def _storage_class(old: Json, new: Json) -> Found:
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if old.get(field) != new.get(field):
            yield forbidden(field, f"updates to {field} are forbidden.")
    if old.get("volumeBindingMode") != new.get("volumeBindingMode"):
        yield immutable("volumeBindingMode", new.get("volumeBindingMode"))


def _attributes_class(old: Json, new: Json) -> Found:
    for field in ("driverName", "parameters"):
        if old.get(field) != new.get(field):
            yield forbidden(field, f"updates to {field} are forbidden.")


def _pod(old: Json, new: Json) -> Found:
    def fixed(obj: Json) -> Json:
        spec = dict(obj["spec"])
        for field in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
            spec.pop(field, None)
        for group in ("containers", "initContainers"):
            spec[group] = [{**each, "image": "", "imagePullPolicy": ""} for each in spec.get(group, [])]
        return spec

    if fixed(old) != fixed(new):
        detail = (
            "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
            "`spec.activeDeadlineSeconds`, `spec.tolerations` or `spec.terminationGracePeriodSeconds`"
        )
        yield forbidden("spec", detail)


def _csi_driver(old: Json, new: Json) -> Found:
    if old["spec"].get("attachRequired") != new["spec"].get("attachRequired"):
        yield immutable("spec.attachRequired", new["spec"].get("attachRequired"))


def _capacity(old: Json, new: Json) -> Found:
    for field in ("nodeTopology", "storageClassName"):
        if old.get(field) != new.get(field):
            yield immutable(field, new.get(field))


_RULES: Final[dict[Kind, Callable[[Json, Json], Found]]] = {
    kinds.CLAIM: _claim,
    kinds.VOLUME: _volume,
    kinds.STATEFUL_SET: _stateful_set,
    kinds.STORAGE_CLASS: _storage_class,
    kinds.ATTRIBUTES_CLASS: _attributes_class,
    kinds.POD: _pod,
    kinds.CSI_DRIVER: _csi_driver,
    kinds.CSI_STORAGE_CAPACITY: _capacity,
}
