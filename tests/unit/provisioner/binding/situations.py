"""
Situations that the brain decides about, each with all that it says: a golden test holds the whole of it.

What is in tables elsewhere is taken from there. `python -m tests.unit.provisioner.binding.situations` records everything anew.
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
from provisioner.binding.lifecycle.node_loss_messages import noted_loss
from provisioner.binding.lifecycle.recover import recover
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import rejection, unsatisfied
from provisioner.binding.matching.pv_controller import claim_step, volume_step
from provisioner.model import names
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding import test_data_sources
from tests.unit.provisioner.binding.adoption import test_evaluate, test_manual, test_siblings
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, beside, facts
from tests.unit.provisioner.binding.lifecycle import test_bind_race, test_expand, test_recover
from tests.unit.provisioner.binding.matching import test_pv_controller
from tests.unit.provisioner.binding.objects import claim, manifest, node, pod, storage_class, volume, web

GOLDEN = Path(__file__).parent / "golden" / "situations.txt"
ELSEWHERE = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool.mooring.dev/2", "operator": "In", "values": ["present"]}]},
    ]
}
Line = tuple[str, object]


def told(thing: object) -> str:
    """Everything that is in an answer, with its sentences."""
    match_of: dict[type, Any] = {
        Reason: lambda each: f"{each.code}|{each.volume}|{each.requested}|{each.actual}| {each.message}",
        Decision: lambda each: (
            f"{each.action.value}|{each.volume}|{each.handle}|{each.node}| {'; '.join(map(told, each.reasons))}"
            + (f" of {sorted(each.candidates)}" if each.candidates is not None else "")
        ),
        Explanation: lambda each: (
            f"{each.subject}|{each.state}|{each.healthy}| {each.message} "
            f"{[reason.code for reason in each.reasons]} {[told(reason) for reason in each.rejected]}"
        ),
        Volume: lambda each: each.name,
        Expansion: lambda each: f"{each.turn.value}|{each.size}| {'; '.join(map(told, each.reasons))}",
        Modification: lambda each: f"{each.step.value}| {'; '.join(map(told, each.reasons))}",
    }
    if type(thing) in match_of:
        return str(match_of[type(thing)](thing))
    if dataclasses.is_dataclass(thing):
        shown = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        return "|".join(f"{key}={told(value)}" for key, value in shown.items() if value)
    return str(thing)


def lines() -> Iterator[str]:
    """One for each situation."""
    parts = (
        _sentences,
        _steps,
        _decisions,
        _rejections,
        _by_hand,
        _recoveries,
        _explanations,
        _growths,
        _changes,
        _leftovers,
        _losses,
        _siblings,
    )
    for part in parts:
        for name, thing in part():
            yield f"{part.__name__[1:]} / {name}: {told(thing)}"


def _sentences() -> Iterator[Line]:
    """Also those that only controllers give."""
    for code in MESSAGES:
        yield code, Reason(code, "VOLUME", "WANTED", "HAD")


def _steps() -> Iterator[Line]:
    for name, (requested, volumes, cls, *_) in test_pv_controller.CLAIM_ROWS.items():
        found = [volume(f"pv{number or ''}", **each) for number, each in enumerate(volumes)]
        default = test_pv_controller.DEFAULT
        yield name, claim_step(claim(**requested), volumes=Index(found), storage_class=cls, default_class=default)
    for name, (actual, asked, *_) in test_pv_controller.VOLUME_ROWS.items():
        yield name, volume_step(volume(**actual), claim=None if asked is None else claim(**asked))
    block = volume(ref=("www-web-0", "new"), mode="Block")
    yield "V6 of another mode", volume_step(block, claim=claim())


def _decisions() -> Iterator[Line]:
    for name, (actual, others, _) in test_evaluate.BLOCKED.items():
        yield name, decide(facts(volumes=(volume(**{**FORMER, **actual}), volume("free")), **others))
        bare = manifest(backend="loop") if "class" in name else manifest(in_trash="mode" in name)
        yield f"{name}, without its object", decide(facts(manifests=(bare,), **others))
    for name, others in test_evaluate.STRANGERS.items():
        yield name, decide(facts(**others))
    for name, (others, _) in test_evaluate.RECREATED.items():
        known = {**others, "namespace_uid": "recreated"}
        fresh = storage_class(parameters={"onNamespaceRecreated": "Fresh"})
        yield f"recreated namespace: {name}", decide(facts(**known))
        yield f"recreated namespace, fresh: {name}", explain_claim(facts(**{**known, "storage_class": fresh}))
    for name, fact in _worlds():
        yield name, decide(fact)
        yield f"{name}, adopted", adopt(fact)
        yield f"{name}, explained", explain_claim(fact)


def _worlds() -> Iterator[tuple[str, Facts]]:
    other = dataclasses.replace(manifest(), holder={**manifest().holder, names.HOLDER_CLUSTER_UID: "there"})
    noted = {names.HOLDER_STATEFUL_SET: "web", names.HOLDER_TEMPLATE: "www", names.HOLDER_ORDINAL: "0"}
    ordinal = dataclasses.replace(other, holder={**other.holder, **noted})
    unclear = dataclasses.replace(manifest(), holder={**manifest().holder, names.HOLDER_STATEFUL_SET: "web"})
    yield "of an ordinal that was not noted", facts(manifests=(unclear,))
    yield "of an ordinal that was not noted, of no set", facts(manifests=(unclear,), stateful_sets=())
    released = dataclasses.replace(ordinal, holder={**ordinal.holder, names.RELEASED: "now"})
    elsewhere = volume("far", ref=("data-web-0", "old"), phase="Released", affinity=ELSEWHERE)
    sets = (web(templates=("www", "data")),)
    n2 = node("n2", pool="2")
    yield "bound", facts(claim=claim(volume="pv", bound=True), volumes=(volume(ref=("www-web-0", "new")),))
    yield "bound, forgotten", facts(claim=claim(volume="pv", bound=True), volumes=(volume(),))
    yield "lost to another", facts(claim=claim(volume="pv", bound=True), volumes=(volume(ref="other"),))
    yield "lost", facts(claim=claim(volume="pv", bound=True))
    yield "names none that is there", facts(claim=claim(volume="pv"))
    yield "names one", facts(claim=claim(volume="pv"), volumes=(volume("x"), volume()))
    yield "reserved", facts(volumes=(volume("x"), volume("kept", ref="www-web-0", size="9Gi")))
    yield "being deleted", facts(claim=claim(deleting=True, node="n1"), volumes=(volume("free", cls="y"),))
    yield "fits", facts(claim=claim(node="n1"), storage_class=storage_class(waits=False), volumes=(volume("free"),))
    yield "no class", facts(claim=claim(cls=""), storage_class=None)
    yield "unknown class", facts(claim=claim(cls="gone"), storage_class=None)
    yield "static class", facts(storage_class=storage_class(provisioner="kubernetes.io/no-provisioner"))
    yield "nameless provisioner", facts(storage_class=storage_class(provisioner=""))
    yield "foreign class", facts(storage_class=storage_class(provisioner="other.example"))
    yield "bad parameters", facts(storage_class=storage_class(parameters={"pol": "x"}))
    yield "contradicts itself", facts(storage_class=storage_class(policy="Delete", adopt="Claim"))
    yield "unknown attributes", facts(claim=claim(vac="gold", node="n1"))
    foreign = AttributesClass("gold", "other.example", {})
    yield "foreign attributes", facts(claim=claim(vac="gold", node="n1"), attributes_class=foreign)
    yield "a selector", facts(claim=claim(selector={"matchLabels": {"a": "b"}}, node="n1"))
    for key, (source, *_) in test_data_sources.CASES.items():
        yield f"source: {key}", facts(claim=claim(source=source, node="n1"))
    yield "no consumer", facts(claim=claim())
    yield "a consumer that ends", facts(claim=claim(), pods=(dataclasses.replace(pod(), deleting=True),))
    yield "unscheduled", facts(claim=claim(), pods=(pod(), pod("web-9")))
    yield "around the scheduler", facts(claim=claim(), pods=(pod(), pod("web-9", node_name="n1")))
    yield "unknown node", facts(claim=claim(node="n7"))
    yield "immediate", facts(claim=claim(), storage_class=storage_class(waits=False))
    yield "new", facts()
    yield "sibling elsewhere", beside(facts(volumes=(elsewhere,), stateful_sets=sets, nodes=(node(), n2)))
    yield "sibling away", beside(facts(volumes=(elsewhere,), stateful_sets=sets))
    bound = facts(volumes=(volume("x"), elsewhere), nodes=(node(), n2))
    yield "sibling bound elsewhere", beside(bound, claim=claim("data-web-0", uid="sib", volume="far"))
    never = storage_class(adopt="Never")
    yield "sibling not adopting", beside(facts(volumes=(elsewhere,), stateful_sets=sets), storage_class=never)
    for key, change in {"of another namespace": {"namespace_uid": "x"}, "not kept": {"policy": "Delete"}}.items():
        kept = volume("far", ref=("data-web-0", "old"), phase="Released", affinity=ELSEWHERE, **change)  # type: ignore[arg-type]
        yield f"sibling's {key}", beside(facts(volumes=(kept,), stateful_sets=sets))
    mine = volume("far", ref=("data-web-0", "sib"), affinity=ELSEWHERE)
    yield "sibling's own", beside(facts(volumes=(mine,)), storage_class=never)
    yield "sibling's, deleting", beside(facts(volumes=(dataclasses.replace(mine, deleting=True),)))
    yield "adopted", facts(volumes=(volume(**FORMER),), manifests=(manifest(),))
    yield "too small", facts(claim=claim(size="2Gi", node="n1"), volumes=(volume(**FORMER),))
    grows = storage_class(expands=True)
    yield "grows", facts(claim=claim(size="2Gi", node="n1"), volumes=(volume(**FORMER),), storage_class=grows)
    yield "from its pool", facts(manifests=(manifest(),))
    raw, block = claim(mode="Block", node="n1"), dataclasses.replace(manifest(), access_type="block")
    loops = storage_class(parameters={"backend": "loop"})
    yield "raw", facts(claim=raw, volumes=(volume(**FORMER, mode="Block"),))
    yield "raw, and it is not", facts(claim=raw, volumes=(volume(**FORMER),))
    yield "raw, from its pool", facts(claim=raw, manifests=(block,))
    yield "from its pool, raw", facts(manifests=(block,))
    yield "on a loop device", facts(manifests=(manifest(backend="loop"),), storage_class=loops)
    yield "of a backend that was not noted", facts(manifests=(manifest(backend=""),))
    labelled = claim(selector={"matchLabels": {"a": "b"}}, node="n1")
    yield "with its labels", facts(claim=labelled, volumes=(volume(**FORMER, labels={"a": "b"}),))
    two = claim(modes=("ReadWriteMany", "ReadOnlyMany"), node="n1")
    yield "two modes", facts(claim=two, volumes=(volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany")),))
    yield "scratch", facts(storage_class=storage_class(adopt="Never", policy="Delete"))
    zones = [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]
    bounded = {waits: storage_class(waits=waits, topologies=zones) for waits in (True, False)}
    yield "its node is left out", facts(storage_class=bounded[True])
    yield "its node is in", facts(storage_class=bounded[True], nodes=(node(zone="a"),))
    yield "bounded, without a scheduler", facts(claim=claim(), storage_class=bounded[False], nodes=(node(zone="a"), n2))
    yield "from the trash", facts(manifests=(manifest(in_trash=True),))
    yield "several", facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)))
    later = (manifest("a", since="2026-01-01"), manifest("b", since="2026-01-02"))
    yield "several, one last", facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)), manifests=later)
    yield "no ordinal any more", facts(manifests=(ordinal,), stateful_sets=(), cluster_uid="there")
    yield "another cluster's", facts(manifests=(ordinal,), cluster_uid="here", namespace_uid="anew")
    yield "another cluster's, no ordinal", facts(manifests=(other,), cluster_uid="here", namespace_uid="anew")
    claims = storage_class(adopt="Claim")
    yield (
        "another cluster's, any claim",
        facts(manifests=(other,), cluster_uid="here", namespace_uid="anew", storage_class=claims),
    )
    yield "another cluster's, released", facts(manifests=(released,), cluster_uid="here", namespace_uid="anew")
    yield (
        "another cluster's, with an object",
        facts(manifests=(ordinal,), cluster_uid="here", namespace_uid="anew", volumes=(volume(namespace_uid="x"),)),
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "another's": {"ref": "other"},
    "of an earlier claim": {"ref": ("www-web-0", "old")},
    "its own": {"ref": ("www-web-0", "new"), "cls": "slow", "phase": "Bound"},
    "its own, too small": {"ref": ("www-web-0", "new"), "size": "1Mi"},
    "its own, far away": {"ref": ("www-web-0", "new"), "affinity": ELSEWHERE},
    "too small": {"size": "1Mi"},
    "raw": {"mode": "Block"},
    "with attributes": {"vac": "gold"},
    "being deleted": {"deleting": True},
    "pending": {"phase": "Pending"},
    "of another class": {"cls": "slow"},
    "far away": {"affinity": ELSEWHERE},
    "with other modes": {"modes": ("ReadOnlyMany",)},
    "with more modes": {"modes": ("ReadOnlyMany", "ReadWriteOnce")},
}


def _rejections() -> Iterator[Line]:
    asked = claim(modes=("ReadWriteOnce",))
    picky = claim(selector={"matchLabels": {"a": "b"}})
    for name, change in VARIANTS.items():
        one = volume(**change)
        yield f"{name}, without a node", rejection(asked, one)
        yield f"{name}, on a node", rejection(asked, one, node=node())
        yield f"{name}, waiting", rejection(asked, one, delay_binding=True)
        yield f"{name}, waiting, on a node", rejection(asked, one, delay_binding=True, node=node())
        yield f"{name}, excluded", rejection(asked, one, excluded=frozenset({"pv"}))
        yield f"{name}, with a selector", rejection(picky, one)
        yield f"{name}, named by the claim", unsatisfied(asked, one)
        both = Index((volume("x", size="2Gi"), one))
        yield f"{name}, beside a larger one", both.match(asked)
        yield f"{name}, beside a larger one on a node", both.match(asked, node=node())
        yield f"{name}, beside a larger one, waiting", both.match_claim(asked, delay=True)
        yield f"{name}, by modes", both.match_claim(asked)


def _by_hand() -> Iterator[Line]:
    for code, (asked, actual) in test_manual.REFUSED.items():
        yield code, cannot_take(claim(**asked), volume(**{**FORMER, **actual}), storage_class=storage_class())
    yield "nobody's", cannot_take(claim(), volume(), storage_class=None)
    elsewhere = dataclasses.replace(claim(), namespace="x")
    yield "of another namespace", cannot_take(elsewhere, volume(**FORMER), storage_class=None)
    several = volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany"))
    yield "several modes", cannot_take(claim(modes=("ReadWriteMany", "ReadOnlyMany")), several, storage_class=None)
    for code, change in test_manual.NOT_IMPORTED.items():
        asked = {"claim": claim(), "storage_class": storage_class(), "volumes": [], "class_name": "fast", **change}
        key, about = "default/www-web-0", (asked["claim"], asked["storage_class"], asked["volumes"])
        yield f"import, {code}", cannot_import(key, *about, class_name=asked["class_name"])
    yield "held", cannot_release(volume(ref=("www-web-0", "new")), claim())
    yield "not held", cannot_release(volume(ref=("www-web-0", "old")), claim())
    yield "free", cannot_release(volume(), None)
    yield "not ours", cannot_release(volume(driver="other", ref="x"), None)


def _recoveries() -> Iterator[Line]:
    first, second = test_recover.lost("a", namespace_uid="1"), test_recover.lost("b", namespace_uid="2", claim_name="x")
    mine = test_recover.lost("c", cluster=test_recover.NEW)
    twins = (test_recover.lost("a"), test_recover.lost("b"), test_recover.lost("d"))
    for name, found in {"two namespaces": (first, second), "several": twins, "a stranger's": (mine,)}.items():
        cluster = test_recover.NEW if name == "a stranger's" else test_recover.OLD
        for each in recover(found, test_recover.now(), cluster=cluster):
            yield f"{name}, {each.manifest.csi_name}", each.reason
    unknown = test_recover.labelled(second, HOLDER_NAMESPACE_UID=None)
    for each in recover((first, unknown), test_recover.now(), cluster=test_recover.OLD):
        yield f"an unknown namespace, {each.manifest.csi_name}", each.reason
    yield "copied", recover([test_recover.lost()] * 2, test_recover.now(), cluster=test_recover.OLD)[0].reason
    for one, here, code in test_recover.LEFT:
        yield code, recover([one], here, cluster=test_recover.OLD)[0].reason


def _explanations() -> Iterator[Line]:
    attributes = {"mooring.dev/backend": "loop", "mooring.dev/pool": "local", "mooring.dev/size": "enforced"}
    for name, change in VARIANTS.items():
        for live in (None, claim(), claim(volume="pv")):
            shown = dataclasses.replace(volume(**change), volume_attributes=attributes if live is None else {})
            yield f"{name}, {live and (live.volume_name or 'unbound')}", explain_volume(shown, claim=live)
    partly = {"mooring.dev/backend": "loop", "mooring.dev/size": "enforced"}
    yield "of an unknown pool", explain_volume(dataclasses.replace(volume(), volume_attributes=partly), claim=None)
    accounted = {**attributes, "mooring.dev/size": "accounted"}
    yield "accounted", explain_volume(dataclasses.replace(volume(), volume_attributes=accounted), claim=None)
    for policy in ("Retain", "Delete"):
        for phase in ("Released", "Failed"):
            gone = volume(ref=("www-web-0", "old"), phase=phase, policy=policy, ordinal="web-0")
            yield f"{phase}, {policy}", explain_volume(gone, claim=None)
    fine, waits = Explanation("claim a", "Bound", healthy=True, message="fine"), explain_claim(facts(claim=claim()))
    grows = Explanation("claim b", "Bound", healthy=False, message="it grows", reasons=(Reason("growing"),))
    for name, claims in {"fine": (fine,), "waits": (fine, waits, waits), "grows": (fine, grows, grows)}.items():
        for placed, ready in (("", False), ("n1", False), ("n1", True)):
            yield f"{name}, {placed}, {ready}", explain_pod(pod(node_name=placed, ready=ready), claims=claims)
    yield "missing", explain_pod(pod(node_name="n1", ready=True), claims=(fine,), missing=("x", "y"))
    rows = facts(claim=claim(), volumes=tuple(volume(key, **change) for key, change in VARIANTS.items()))
    yield "nearest miss first", explain_claim(rows)
    yield "a deleting set", explain_claim(facts(volumes=(volume(**FORMER),), stateful_sets=(web(deleting=True),)))


def _growths() -> Iterator[Line]:
    for request, state, allocated, refused, has, *_ in test_expand.STATES:
        held = volume(size=has, ref=("www-web-0", "new"), phase="Bound")
        row = f"{request}, {state}, {allocated}, {refused}, {has}"
        for kind in ("", "ControllerResizeError", "NodeResizeError"):
            asked = test_expand.bound(request, state=state, allocated=allocated, error=kind and "no", kind=kind)
            yield f"{row}, {kind}", expansion(asked, held, storage_class=test_expand.GROWS, refused=refused)
        node = node_part(test_expand.bound(request, state=state, allocated=allocated), held)
        yield f"{row}, on the node", node and str(node)
    held = volume(ref=("www-web-0", "new"), phase="Bound")
    for code, asked in test_expand.TOLD.items():
        yield code, expansion(asked, held, storage_class=test_expand.GROWS)
    both = dataclasses.replace(test_expand.bound(), attributes_class="gold")
    yield "explained, with another change", explain_claim(Facts(both, Index([held]), test_expand.GROWS))
    yield "explained, and not allowed", explain_claim(Facts(test_expand.bound(), Index([held]), storage_class()))
    yield "expand-not-allowed", expansion(test_expand.bound(), held, storage_class=storage_class())


def _changes() -> Iterator[Line]:
    held = volume(ref=("www-web-0", "new"), phase="Bound", vac="silver")
    for vac in ("", "gold", "silver"):
        for state in ("", "Pending", "Infeasible"):
            for message in ("", "no"):
                status: dict[str, Any] = {"capacity": {"storage": "1Gi"}, "currentVolumeAttributesClassName": "silver"}
                if state:
                    status["modifyVolumeStatus"] = {"status": state, "targetVolumeAttributesClassName": "gold"}
                if message:
                    status["conditions"] = [{"type": "ModifyVolumeError", "status": "True", "message": message}]
                asked = claim(volume="pv", bound=True, phase="Bound", vac=vac, status=status)
                for cls in (None, AttributesClass("gold", names.DRIVER, {})):
                    what = modification(asked, held, attributes_class=cls)
                    yield f"{vac}, {state}, {message}, {cls is not None}", what


def _leftovers() -> Iterator[Line]:
    for outcome, judged in test_bind_race.judged().items():
        assert judged is not None
        yield outcome.value, judged.reason


def _siblings() -> Iterator[Line]:
    for why, (volumes, others, _) in test_siblings.TOGETHER.items():
        yield why, decide(test_siblings.pod_of_two(*volumes, **others))
    alone = facts(volumes=(test_siblings.WWW,), stateful_sets=test_siblings.SETS, missing=("data-web-0", "x-web-0"))
    yield "missing", decide(alone)
    yield "taken back", decide(test_siblings.pod_of_two(test_siblings.adopted(), test_siblings.BLOCKED))
    yield "first of two at once", decide(test_siblings.immediate(asked="a-web-0"))
    yield "second of two at once", decide(test_siblings.immediate())
    yield (
        "second, and the first is missing",
        decide(facts(claim=claim(), storage_class=storage_class(waits=False), missing=("data-web-0",))),
    )


def _losses() -> Iterator[Line]:
    """What people are told when a node is gone."""
    gone = volume(ref=("www-web-0", "new"), phase="Bound")
    lost = dataclasses.replace(gone, annotations={names.LAST_NODE: "n1/uid", names.LOST_SINCE: "2026-01-01T00:00:00Z"})
    seen = Loss(lost, storage_class())
    yield "noted", noted_loss(lost)
    yield "not noted", noted_loss(gone)
    yield "no volume", noted_loss(None)
    yield "noted without its node", noted_loss(dataclasses.replace(lost, annotations={names.LOST_SINCE: "now"}))
    yield "lost", node_loss_messages.lost(seen, grace=300.0)
    yield "let go", node_loss_messages.claim_deleted(seen)
    yield "kept for a sibling", node_loss_messages.left(dataclasses.replace(seen, blocked_by="data-web-0"))
    yield "kept without a set", node_loss_messages.left(seen)
    yield "forbidden", node_loss_messages.forbidden(seen)
    yield "a pod that stays", node_loss_messages.waits_for_claim("default", pod="web-0", claim="www-web-0")
    yield "released", node_loss_messages.released(lost)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
