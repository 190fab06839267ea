"""
Plan the next steps of a StatefulSet from its specification and the existing objects, as a pure function.

Ordered sets take one step at a time: an ordinal is created once all before it are ready, and the highest is deleted
first.
Source: kubernetes, pkg/controller/statefulset/stateful_set_control.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioner.embedded.controlplane import identity
from provisioner.model.kinds import Json, Object
from provisioner.model.names import REVISION_LABEL
from provisioner.model.pod import controller_uid


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create a claim."""

    claim: Json


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """Set the owner references of a claim, guarded by its resourceVersion."""

    claim: Object
    owners: list[Json]


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create a pod, after all its claims."""

    pod: Json


@dataclass(frozen=True, slots=True)
class AdoptPod:
    """Become the controller of a pod with the right name and labels that has none."""

    pod: Object


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod."""

    pod: Object


@dataclass(frozen=True, slots=True)
class Blocked:
    """Wait for the deletion of another object, reported as an Event."""

    message: str


Step = CreateClaim | OwnClaim | CreatePod | AdoptPod | DeletePod | Blocked


def plan(
    stateful_set: Object, *, pods: Sequence[Object], claims: Mapping[str, Object], available: frozenset[str]
) -> list[Step]:
    """
    Return the next steps, in order.

    :param pods: the pods of the set's namespace
    :param claims: the claims of the set's namespace, by name
    :param available: names of pods that have been ready for minReadySeconds
    """
    if "deletionTimestamp" in stateful_set["metadata"]:
        return []
    spec = stateful_set["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    desired = range(start, start + spec.get("replicas", 1))
    ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    by_ordinal = {number: pod for pod in pods if (number := identity.ordinal_of(stateful_set, pod)) is not None}
    owned = {number: pod for number, pod in by_ordinal.items() if _is_owned(stateful_set, pod)}
    steps: list[Step] = []
    for number in desired:
        found, continues = _fill(stateful_set, number, by_ordinal.get(number), claims, available)
        steps += found
        if ordered and not continues:
            return steps
    for number in sorted(set(owned) - set(desired), reverse=True):
        pod = owned[number]
        steps += _own_claims(stateful_set, number, claims, pod=pod, scaled_down=True)
        if "deletionTimestamp" not in pod["metadata"]:
            steps.append(DeletePod(pod))
        if ordered:
            return steps
    return steps or _roll(stateful_set, desired, owned, available)


def _is_owned(stateful_set: Object, pod: Object) -> bool:
    return controller_uid(pod) == str(stateful_set["metadata"]["uid"])


def _fill(
    stateful_set: Object,
    number: int,
    pod: Object | None,
    claims: Mapping[str, Object],
    available: frozenset[str],
) -> tuple[list[Step], bool]:
    """Return the steps for one desired ordinal, and whether an ordered set may continue with the next one."""
    if pod is not None and not _is_owned(stateful_set, pod):
        if controller_uid(pod) or not _selects(stateful_set, pod):
            name = pod["metadata"]["name"]
            return [Blocked(f"pod {name} exists and is not owned by this set; it has to be deleted first")], False
        return [AdoptPod(pod)], False
    if pod is not None and "deletionTimestamp" in pod["metadata"]:
        return [], False
    steps: list[Step] = []
    for template in identity.templates_of(stateful_set):
        name = f"{template['metadata']['name']}-{identity.pod_name(stateful_set, number)}"
        claim = claims.get(name)
        if claim is None:
            if pod is None or (pod.get("status") or {}).get("phase", "Pending") == "Pending":
                steps.append(CreateClaim(identity.new_claim(stateful_set, template, number)))
        elif pod is None and "deletionTimestamp" in claim["metadata"]:
            return [Blocked(f"pvc {name} is being deleted; its pod is created after that")], False
        elif pod is None and identity.claim_is_stale(stateful_set, claim):
            return [
                Blocked(f"pvc {name} is deleted with the pod that was scaled down; a new one is created after that")
            ], False
    steps += _own_claims(stateful_set, number, claims, pod=pod, scaled_down=False)
    if pod is None:
        return [*steps, CreatePod(identity.new_pod(stateful_set, number))], False
    if (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}:
        return [*steps, DeletePod(pod)], False
    return steps, pod["metadata"]["name"] in available


def _own_claims(
    stateful_set: Object, number: int, claims: Mapping[str, Object], *, pod: Object | None, scaled_down: bool
) -> list[Step]:
    steps: list[Step] = []
    for name in identity.claim_names(stateful_set, number).values():
        claim = claims.get(name)
        if claim is not None and "deletionTimestamp" not in claim["metadata"]:
            owners = identity.claim_owners(stateful_set, claim, pod=pod, scaled_down=scaled_down)
            if owners is not None:
                steps.append(OwnClaim(claim, owners))
    return steps


def _selects(stateful_set: Object, pod: Object) -> bool:
    selector = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _roll(stateful_set: Object, desired: range, owned: Mapping[int, Object], available: frozenset[str]) -> list[Step]:
    """Replace pods of an older template, highest ordinal first, down to the partition, one at a time."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return []
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    revision = identity.revision_of(stateful_set)
    for number in reversed(desired):
        pod = owned.get(number)
        if number - desired.start < partition or pod is None:
            break
        if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) != revision:
            return [DeletePod(pod)] if "deletionTimestamp" not in pod["metadata"] else []
        if pod["metadata"]["name"] not in available:
            break
    return []
