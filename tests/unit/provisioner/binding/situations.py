"""
Situations and the complete result of the decision layer for each, which a golden test compares.

Tables of other tests are included. `python -m tests.unit.provisioner.binding.situations` records all results again.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provisioner.binding.adoption.adopt import adopt
from provisioner.binding.adoption.manual import cannot_import, cannot_release, cannot_take
from provisioner.binding.decide import decide
from provisioner.binding.decision import MESSAGES, Decision, Reason
from provisioner.binding.explain import Explanation, explain_claim, explain_volume
from provisioner.binding.explain_pod import explain_pod
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle import node_loss_messages
from provisioner.binding.lifecycle.expand import Expansion, expansion, node_part
from provisioner.binding.lifecycle.modify import Modification, modification
from provisioner.binding.lifecycle.node_loss import Loss
from provisioner.binding.lifecycle.node_loss_messages import recorded_loss
from provisioner.binding.lifecycle.recover import recover
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import rejection, unsatisfied
from provisioner.binding.matching.pv_controller import claim_step, volume_step
from provisioner.model import names
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding.adoption import test_evaluate, test_manual, test_siblings
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, facts
from tests.unit.provisioner.binding.facts_of_decisions import ELSEWHERE, all_facts
from tests.unit.provisioner.binding.lifecycle import test_bind_race, test_expand, test_recover
from tests.unit.provisioner.binding.matching import test_pv_controller
from tests.unit.provisioner.binding.objects import claim, manifest, node, pod, storage_class, volume, web

GOLDEN = Path(__file__).parent / "golden" / "situations.txt"
Line = tuple[str, object]


def rendered(thing: object) -> str:
    """Return a result as text, with all its fields and messages."""
    match_of: dict[type, Any] = {
        Reason: lambda each: f"{each.code}|{each.volume}|{each.requested}|{each.actual}| {each.message}",
        Decision: lambda each: (
            f"{each.action.value}|{each.volume}|{each.handle}|{each.node}| {'; '.join(map(rendered, each.reasons))}"
            + (f" of {sorted(each.candidates)}" if each.candidates is not None else "")
        ),
        Explanation: lambda each: (
            f"{each.subject}|{each.state}|{each.healthy}| {each.message} "
            f"{[reason.code for reason in each.reasons]} {[rendered(reason) for reason in each.rejected]}"
        ),
        Volume: lambda each: each.name,
        Expansion: lambda each: f"{each.turn.value}|{each.size}| {'; '.join(map(rendered, each.reasons))}",
        Modification: lambda each: f"{each.step.value}| {'; '.join(map(rendered, each.reasons))}",
    }
    if type(thing) in match_of:
        return str(match_of[type(thing)](thing))
    if dataclasses.is_dataclass(thing):
        shown = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        return "|".join(f"{key}={rendered(value)}" for key, value in shown.items() if value)
    return str(thing)


def lines() -> Iterator[str]:
    """Return one line for each situation."""
    parts = (
        _messages,
        _steps,
        _decisions,
        _rejections,
        _admin_decisions,
        _recoveries,
        _explanations,
        _expansions,
        _modifications,
        _bind_races,
        _node_losses,
        _siblings,
    )
    for part in parts:
        for name, thing in part():
            yield f"{part.__name__[1:]} / {name}: {rendered(thing)}"


def _messages() -> Iterator[Line]:
    """Return the messages of all reasons, including those that only controllers use."""
    for code in MESSAGES:
        yield code, Reason(code, "VOLUME", "REQUESTED", "ACTUAL")


def _steps() -> Iterator[Line]:
    for name, (of_claim, volumes, cls, *_) in test_pv_controller.CLAIM_ROWS.items():
        found = [volume(f"pv{number or ''}", **each) for number, each in enumerate(volumes)]
        default = test_pv_controller.DEFAULT
        yield name, claim_step(claim(**of_claim), volumes=Index(found), storage_class=cls, default_class=default)
    for name, (actual, requested, *_) in test_pv_controller.VOLUME_ROWS.items():
        yield name, volume_step(volume(**actual), claim=None if requested is None else claim(**requested))
    block = volume(ref=("www-web-0", "new"), mode="Block")
    yield "V6 of another mode", volume_step(block, claim=claim())


def _decisions() -> Iterator[Line]:
    for name, (actual, others, _) in test_evaluate.BLOCKED.items():
        yield name, decide(facts(volumes=(volume(**{**FORMER, **actual}), volume("free")), **others))
        in_pool = manifest(backend="loop") if "class" in name else manifest(in_trash="mode" in name)
        yield f"{name}, without its object", decide(facts(manifests=(in_pool,), **others))
    for name, others in test_evaluate.NOT_FORMER.items():
        yield name, decide(facts(**others))
    for name, (others, _) in test_evaluate.RECREATED.items():
        known = {**others, "namespace_uid": "recreated"}
        fresh = storage_class(parameters={"onNamespaceRecreated": "Fresh"})
        yield f"recreated namespace: {name}", decide(facts(**known))
        yield f"recreated namespace, fresh: {name}", explain_claim(facts(**{**known, "storage_class": fresh}))
    for name, fact in all_facts():
        yield name, decide(fact)
        yield f"{name}, adopted", adopt(fact)
        yield f"{name}, explained", explain_claim(fact)


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "of another claim": {"ref": "other"},
    "of an earlier claim": {"ref": ("www-web-0", "old")},
    "its own": {"ref": ("www-web-0", "new"), "cls": "slow", "phase": "Bound"},
    "its own, too small": {"ref": ("www-web-0", "new"), "size": "1Mi"},
    "its own, unreachable": {"ref": ("www-web-0", "new"), "affinity": ELSEWHERE},
    "too small": {"size": "1Mi"},
    "raw": {"mode": "Block"},
    "with attributes": {"vac": "gold"},
    "being deleted": {"deleting": True},
    "pending": {"phase": "Pending"},
    "of another class": {"cls": "slow"},
    "unreachable": {"affinity": ELSEWHERE},
    "with other modes": {"modes": ("ReadOnlyMany",)},
    "with more modes": {"modes": ("ReadOnlyMany", "ReadWriteOnce")},
}


def _rejections() -> Iterator[Line]:
    requested = claim(modes=("ReadWriteOnce",))
    selective = claim(selector={"matchLabels": {"a": "b"}})
    for name, change in VARIANTS.items():
        one = volume(**change)
        yield f"{name}, without a node", rejection(requested, one)
        yield f"{name}, on a node", rejection(requested, one, node=node())
        yield f"{name}, waiting", rejection(requested, one, delay_binding=True)
        yield f"{name}, waiting, on a node", rejection(requested, one, delay_binding=True, node=node())
        yield f"{name}, excluded", rejection(requested, one, excluded=frozenset({"pv"}))
        yield f"{name}, with a selector", rejection(selective, one)
        yield f"{name}, named by the claim", unsatisfied(requested, one)
        both = Index((volume("x", size="2Gi"), one))
        yield f"{name}, beside a larger one", both.match(requested)
        yield f"{name}, beside a larger one on a node", both.match(requested, node=node())
        yield f"{name}, beside a larger one, waiting", both.match_claim(requested, delay=True)
        yield f"{name}, by modes", both.match_claim(requested)


def _admin_decisions() -> Iterator[Line]:
    for code, (requested, actual) in test_manual.REFUSED.items():
        yield code, cannot_take(claim(**requested), volume(**{**FORMER, **actual}), storage_class=storage_class())
    yield "without a claimRef", cannot_take(claim(), volume(), storage_class=None)
    elsewhere = dataclasses.replace(claim(), namespace="x")
    yield "of another namespace", cannot_take(elsewhere, volume(**FORMER), storage_class=None)
    several = volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany"))
    yield "several modes", cannot_take(claim(modes=("ReadWriteMany", "ReadOnlyMany")), several, storage_class=None)
    for code, change in test_manual.NOT_IMPORTED.items():
        arguments = {"claim": claim(), "storage_class": storage_class(), "volumes": [], "class_name": "fast", **change}
        key, about = "default/www-web-0", (arguments["claim"], arguments["storage_class"], arguments["volumes"])
        yield f"import, {code}", cannot_import(key, *about, class_name=arguments["class_name"])
    yield "in use", cannot_release(volume(ref=("www-web-0", "new")), claim())
    yield "not in use", cannot_release(volume(ref=("www-web-0", "old")), claim())
    yield "without a claimRef, released", cannot_release(volume(), None)
    yield "of another driver", cannot_release(volume(driver="other", ref="x"), None)


def _recoveries() -> Iterator[Line]:
    first, second = test_recover.lost("a", namespace_uid="1"), test_recover.lost("b", namespace_uid="2", claim_name="x")
    recreated = test_recover.lost("c", cluster=test_recover.NEW)
    several = (test_recover.lost("a"), test_recover.lost("b"), test_recover.lost("d"))
    cases = {"two namespaces": (first, second), "several": several, "a recreated namespace": (recreated,)}
    for name, found in cases.items():
        cluster = test_recover.NEW if name == "a recreated namespace" else test_recover.OLD
        for each in recover(found, test_recover.now(), cluster=cluster):
            yield f"{name}, {each.manifest.csi_name}", each.reason
    unknown = test_recover.labelled(second, HOLDER_NAMESPACE_UID=None)
    for each in recover((first, unknown), test_recover.now(), cluster=test_recover.OLD):
        yield f"an unknown namespace, {each.manifest.csi_name}", each.reason
    yield "copied", recover([test_recover.lost()] * 2, test_recover.now(), cluster=test_recover.OLD)[0].reason
    for one, present, code in test_recover.NOT_RECOVERED:
        yield code, recover([one], present, cluster=test_recover.OLD)[0].reason


def _explanations() -> Iterator[Line]:
    attributes = {"mooring.dev/backend": "loop", "mooring.dev/pool": "local", "mooring.dev/size": "enforced"}
    for name, change in VARIANTS.items():
        for live in (None, claim(), claim(volume="pv")):
            described = dataclasses.replace(volume(**change), volume_attributes=attributes if live is None else {})
            yield f"{name}, {live and (live.volume_name or 'unbound')}", explain_volume(described, claim=live)
    partly = {"mooring.dev/backend": "loop", "mooring.dev/size": "enforced"}
    yield "of an unknown pool", explain_volume(dataclasses.replace(volume(), volume_attributes=partly), claim=None)
    accounted = {**attributes, "mooring.dev/size": "accounted"}
    yield "accounted", explain_volume(dataclasses.replace(volume(), volume_attributes=accounted), claim=None)
    for policy in ("Retain", "Delete"):
        for phase in ("Released", "Failed"):
            former = volume(ref=("www-web-0", "old"), phase=phase, policy=policy, ordinal="web-0")
            yield f"{phase}, {policy}", explain_volume(former, claim=None)
    healthy = Explanation("claim a", "Bound", healthy=True, message="healthy")
    waits = explain_claim(facts(claim=claim()))
    expands = Explanation("claim b", "Bound", healthy=False, message="it is expanded", reasons=(Reason("expanding"),))
    states = {"healthy": (healthy,), "waits": (healthy, waits, waits), "expands": (healthy, expands, expands)}
    for name, claims in states.items():
        for placed, ready in (("", False), ("n1", False), ("n1", True)):
            yield f"{name}, {placed}, {ready}", explain_pod(pod(node_name=placed, ready=ready), claims=claims)
    yield "missing", explain_pod(pod(node_name="n1", ready=True), claims=(healthy,), missing=("x", "y"))
    rows = facts(claim=claim(), volumes=tuple(volume(key, **change) for key, change in VARIANTS.items()))
    yield "nearest to fitting first", explain_claim(rows)
    deleting = facts(volumes=(volume(**FORMER),), stateful_sets=(web(deleting=True),))
    yield "a set that is being deleted", explain_claim(deleting)


def _expansions() -> Iterator[Line]:
    for request, state, allocated, refused, has, *_ in test_expand.STATES:
        current = volume(size=has, ref=("www-web-0", "new"), phase="Bound")
        row = f"{request}, {state}, {allocated}, {refused}, {has}"
        for kind in ("", "ControllerResizeError", "NodeResizeError"):
            requested = test_expand.bound(request, state=state, allocated=allocated, error=kind and "no", kind=kind)
            yield f"{row}, {kind}", expansion(requested, current, storage_class=test_expand.EXPANDS, refused=refused)
        expanded = node_part(test_expand.bound(request, state=state, allocated=allocated), current)
        yield f"{row}, on the node", expanded and str(expanded)
    current = volume(ref=("www-web-0", "new"), phase="Bound")
    for code, requested in test_expand.PENDING.items():
        yield code, expansion(requested, current, storage_class=test_expand.EXPANDS)
    both = dataclasses.replace(test_expand.bound(), attributes_class="gold")
    yield "explained, with a modification", explain_claim(Facts(both, Index([current]), test_expand.EXPANDS))
    yield "explained, and not allowed", explain_claim(Facts(test_expand.bound(), Index([current]), storage_class()))
    yield "expand-not-allowed", expansion(test_expand.bound(), current, storage_class=storage_class())


def _modifications() -> Iterator[Line]:
    current = volume(ref=("www-web-0", "new"), phase="Bound", vac="silver")
    for vac in ("", "gold", "silver"):
        for state in ("", "Pending", "Infeasible"):
            for message in ("", "no"):
                status: dict[str, Any] = {"capacity": {"storage": "1Gi"}, "currentVolumeAttributesClassName": "silver"}
                if state:
                    status["modifyVolumeStatus"] = {"status": state, "targetVolumeAttributesClassName": "gold"}
                if message:
                    status["conditions"] = [{"type": "ModifyVolumeError", "status": "True", "message": message}]
                requested = claim(volume="pv", bound=True, phase="Bound", vac=vac, status=status)
                for cls in (None, AttributesClass("gold", names.DRIVER, {})):
                    result = modification(requested, current, attributes_class=cls)
                    yield f"{vac}, {state}, {message}, {cls is not None}", result


def _bind_races() -> Iterator[Line]:
    for outcome, result in test_bind_race.results().items():
        assert result is not None
        yield outcome.value, result.reason


def _siblings() -> Iterator[Line]:
    for why, (volumes, others, _) in test_siblings.TOGETHER.items():
        yield why, decide(test_siblings.pod_of_two(*volumes, **others))
    alone = facts(volumes=(test_siblings.WWW,), stateful_sets=test_siblings.SETS, missing=("data-web-0", "x-web-0"))
    yield "missing", decide(alone)
    yield "adoption reverted", decide(test_siblings.pod_of_two(test_siblings.adopted(), test_siblings.BLOCKED))
    yield "first of two at once", decide(test_siblings.immediate(requested="a-web-0"))
    yield "second of two at once", decide(test_siblings.immediate())
    yield (
        "second, and the first is missing",
        decide(facts(claim=claim(), storage_class=storage_class(waits=False), missing=("data-web-0",))),
    )


def _node_losses() -> Iterator[Line]:
    """Return the messages about a lost node."""
    bound = volume(ref=("www-web-0", "new"), phase="Bound")
    lost = dataclasses.replace(bound, annotations={names.LAST_NODE: "n1/uid", names.LOST_SINCE: "2026-01-01T00:00:00Z"})
    seen = Loss(lost, storage_class())
    yield "recorded", recorded_loss(lost)
    yield "not recorded", recorded_loss(bound)
    yield "no volume", recorded_loss(None)
    yield "recorded without its node", recorded_loss(dataclasses.replace(lost, annotations={names.LOST_SINCE: "now"}))
    yield "lost", node_loss_messages.lost(seen, grace=300.0)
    yield "claim deleted", node_loss_messages.claim_deleted(seen)
    blocked = dataclasses.replace(seen, blocked_by="data-web-0")
    yield "not deleted because of a sibling", node_loss_messages.left(blocked)
    yield "not deleted without a set", node_loss_messages.left(seen)
    yield "forbidden", node_loss_messages.forbidden(seen)
    yield "a pod that is not deleted", node_loss_messages.waits_for_claim("default", pod="web-0", claim="www-web-0")
    yield "released", node_loss_messages.released(lost)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
