"""
Decide whether a pod may be scheduled to the node, as a pure function of the two objects.

The checks are in upstream's order: scheduling gates, cordon, taints, node selector and required node affinity. Requests
of CPU and memory, pod affinity and topology spread have no effect here (limit `placement`). Source: kubernetes 1.37,
pkg/scheduler/framework/plugins (schedulinggates, nodeunschedulable, tainttoleration, nodeaffinity).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from provisioner.model.fields import Fields
from provisioner.model.kinds import Object
from provisioner.model.selector import InvalidSelectorError, Requirement

GATED: Final = "Scheduling is blocked due to non-empty scheduling gates"
UNSCHEDULABLE: Final = "node(s) were unschedulable"
TAINTED: Final = "node(s) had untolerated taint(s)"
NOT_SELECTED: Final = "node(s) didn't match Pod's node affinity/selector"

_CORDON: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
"""The taint of a cordoned node: a pod that tolerates it may be scheduled there."""
_REPELLING: Final = frozenset({"NoSchedule", "NoExecute"})
_OPERATORS: Final = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})
_FIELD_OPERATORS: Final = frozenset({"In", "NotIn"})
_NAME_FIELD: Final = "metadata.name"


def misfit(pod: Object, node: Object) -> str:
    """Return why the pod cannot be scheduled to the node, worded as by kube-scheduler; "" when it can."""
    pod_fields, node_fields = Fields("pod", pod), Fields("node", node)
    if pod_fields.objects("spec.schedulingGates"):
        return GATED
    tolerations = pod_fields.objects("spec.tolerations")
    if node_fields.flag("spec.unschedulable") and not _tolerated(_CORDON, tolerations):
        return _none_available(UNSCHEDULABLE)
    repelling = [each for each in node_fields.objects("spec.taints") if each.get("effect") in _REPELLING]
    if not all(_tolerated(taint, tolerations) for taint in repelling):
        return _none_available(TAINTED)
    if not _selected(pod_fields, node_fields):
        return _none_available(NOT_SELECTED)
    return ""


def _none_available(why: str) -> str:
    return f"0/1 nodes are available: 1 {why}."


def _tolerated(taint: Object, tolerations: Sequence[Object]) -> bool:
    return any(_tolerates(each, taint) for each in tolerations)


def _tolerates(toleration: Object, taint: Object) -> bool:
    """Report whether a toleration covers the taint; an absent key or effect covers all. See core/v1, ToleratesTaint."""
    key, effect = toleration.get("key") or "", toleration.get("effect") or ""
    if (effect and effect != taint.get("effect")) or (key and key != taint.get("key")):
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(key) and (toleration.get("value") or "") == (taint.get("value") or "")
    return False


def _selected(pod: Fields, node: Fields) -> bool:
    labels = node.mapping("metadata.labels")
    if any(labels.get(key) != value for key, value in pod.mapping("spec.nodeSelector").items()):
        return False
    required = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    if pod.raw(required) is None:
        return True
    name = {_NAME_FIELD: node.text(_NAME_FIELD)}
    return any(_matches(term, labels, name) for term in pod.objects(f"{required}.nodeSelectorTerms"))


def _matches(term: Object, labels: Mapping[str, str], name: Mapping[str, str]) -> bool:
    """Report whether a term matches; an empty or invalid one matches no node."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    try:
        by_label = [Requirement.of(each, operators=_OPERATORS) for each in expressions]
        by_field = [Requirement.of(each, operators=_FIELD_OPERATORS) for each in fields]
    except InvalidSelectorError:
        return False
    if not by_label and not by_field:
        return False
    return all(each.matches(labels) for each in by_label) and all(
        each.key == _NAME_FIELD and each.matches(name) for each in by_field
    )
