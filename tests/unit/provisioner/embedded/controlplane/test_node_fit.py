"""Where a pod may be scheduled, as by kube-scheduler: gates, cordon, taints, node selectors and node affinity."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.embedded.controlplane.node_fit import GATED, misfit
from provisioner.model.kinds import Json

UNSCHEDULABLE = "0/1 nodes are available: 1 node(s) were unschedulable."
TAINTED = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
NOT_SELECTED = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


def _node(**spec: Any) -> Json:
    return {"metadata": {"name": "local", "labels": {"disk": "ssd", "size": "7"}}, "spec": spec}


def _pod(**spec: Any) -> Json:
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


def _affinity(*terms: Json) -> Json:
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def _labels(key: str, operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def _name(operator: str, *values: str) -> Json:
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(values)}]}


CASES: list[tuple[str, Json, Json, str]] = [
    ("no constraints", _pod(), _node(), ""),
    ("gated", _pod(schedulingGates=[{"name": "a/b"}]), _node(), GATED),
    ("cordoned", _pod(), _node(unschedulable=True), UNSCHEDULABLE),
    (
        "cordoned, tolerated",
        _pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]),
        _node(unschedulable=True),
        "",
    ),
    ("cordoned, all tolerated", _pod(tolerations=[{"operator": "Exists"}]), _node(unschedulable=True), ""),
    ("tainted", _pod(), _node(taints=[TAINT]), TAINTED),
    ("tainted NoExecute", _pod(), _node(taints=[TAINT | {"effect": "NoExecute"}]), TAINTED),
    ("PreferNoSchedule", _pod(), _node(taints=[TAINT | {"effect": "PreferNoSchedule"}]), ""),
    ("tolerated", _pod(tolerations=[{"key": "k", "value": "v", "effect": "NoSchedule"}]), _node(taints=[TAINT]), ""),
    ("tolerated for any effect", _pod(tolerations=[{"key": "k", "value": "v"}]), _node(taints=[TAINT]), ""),
    ("another value", _pod(tolerations=[{"key": "k", "value": "w"}]), _node(taints=[TAINT]), TAINTED),
    (
        "another effect",
        _pod(tolerations=[{"key": "k", "value": "v", "effect": "NoExecute"}]),
        _node(taints=[TAINT]),
        TAINTED,
    ),
    (
        "one of two",
        _pod(tolerations=[{"key": "k", "operator": "Exists"}]),
        _node(taints=[TAINT, {"key": "l", "effect": "NoSchedule"}]),
        TAINTED,
    ),
    ("Equal without a key", _pod(tolerations=[{"value": "v"}]), _node(taints=[TAINT]), TAINTED),
    ("selected", _pod(nodeSelector={"disk": "ssd"}), _node(), ""),
    ("not selected", _pod(nodeSelector={"disk": "hdd"}), _node(), NOT_SELECTED),
    ("an absent label", _pod(nodeSelector={"gpu": ""}), _node(), NOT_SELECTED),
    ("affine", _pod(**_affinity(_labels("disk", "In", "ssd", "hdd"))), _node(), ""),
    ("affine by one of two", _pod(**_affinity(_labels("disk", "In", "hdd"), _labels("size", "Gt", "6"))), _node(), ""),
    ("not affine", _pod(**_affinity(_labels("disk", "NotIn", "ssd"))), _node(), NOT_SELECTED),
    (
        "affine, not selected",
        _pod(nodeSelector={"a": "b"}, **_affinity(_labels("disk", "Exists"))),
        _node(),
        NOT_SELECTED,
    ),
    ("by name", _pod(**_affinity(_name("In", "local"))), _node(), ""),
    ("by another name", _pod(**_affinity(_name("In", "other"))), _node(), NOT_SELECTED),
    (
        "by name and label",
        _pod(**_affinity(_name("In", "local") | _labels("disk", "DoesNotExist"))),
        _node(),
        NOT_SELECTED,
    ),
    ("no terms", _pod(**_affinity()), _node(), NOT_SELECTED),
    ("an empty term", _pod(**_affinity({})), _node(), NOT_SELECTED),
    ("a broken term", _pod(**_affinity(_labels("disk", "Around", "ssd"))), _node(), NOT_SELECTED),
    (
        "only preferred",
        _pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}),
        _node(),
        "",
    ),
]


@pytest.mark.parametrize(("pod", "node", "expected"), [pytest.param(*rest, id=name) for name, *rest in CASES])
def test_a_pod_is_scheduled_only_where_it_fits(pod: Json, node: Json, expected: str) -> None:
    """The result is the first reason in kube-scheduler's order, in its words."""
    assert misfit(pod, node) == expected


@pytest.mark.limit("placement")
def test_scheduling_rules_for_containers_have_no_effect() -> None:
    """Requests, pod anti-affinity and topology spread are ignored: no container runs, and the engine has one node."""
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    pod = _pod(
        containers=[{"name": "c", "resources": {"requests": {"cpu": "1000", "memory": "1Pi"}}}],
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        topologySpreadConstraints=[{**apart, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
        priority=5,
    )
    assert misfit(pod, _node()) == ""


@given(
    key=st.sampled_from(["", "k", "l"]),
    operator=st.sampled_from(["", "Exists", "Equal"]),
    value=st.sampled_from(["", "v", "w"]),
    effect=st.sampled_from(["", "NoSchedule", "NoExecute"]),
)
def test_a_toleration_covers_what_it_names_and_nothing_else(key: str, operator: str, value: str, effect: str) -> None:
    """An absent key covers all keys with Exists only; an absent effect covers all effects."""
    toleration = {"key": key, "operator": operator, "value": value, "effect": effect}
    covers_key = key == "k" or (not key and operator == "Exists")
    covers_value = operator == "Exists" or value == "v"
    covered = covers_key and covers_value and effect in ("", "NoSchedule")
    assert misfit(_pod(tolerations=[toleration]), _node(taints=[TAINT])) == ("" if covered else TAINTED)
