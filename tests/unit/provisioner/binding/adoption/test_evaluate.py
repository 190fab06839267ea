"""An ordinal's former volume comes back to it, or the claim waits and says why; strangers get nothing."""

import dataclasses
from typing import Any

import pytest

from provisioner.binding.adoption.adopt import adopt
from provisioner.binding.decide import decide
from provisioner.binding.decision import MESSAGES, Action
from provisioner.binding.explain import explain_claim
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.model import names
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.storage_class import StorageClass
from tests.unit.provisioner.binding.objects import NAMESPACE, claim, manifest, node, pod, storage_class, volume, web

FORMER: dict[str, Any] = {"ref": ("www-web-0", "old"), "phase": "Released"}


def facts(**others: Any) -> Facts:
    """A recreated claim of an existing set, its class and node; a test adds what it is about."""
    usual: dict[str, Any] = {
        "claim": claim(node="n1"),
        "storage_class": storage_class(),
        "namespace_uid": NAMESPACE,
        "stateful_sets": (web(),),
        "nodes": (node(),),
    }
    found = {**usual, **others}
    return Facts(**{**found, "volumes": Index(found.get("volumes", ()))})


def beside(known: Facts, claim_name: str = "data-web-0", **others: Any) -> Facts:
    """The same with one more claim of the pod, of which the test says what is about it."""
    usual: dict[str, Any] = {"claim": claim(claim_name, uid="sib"), "siblings": (), "pods": ()}
    sibling = dataclasses.replace(known, **{**usual, **others})
    return dataclasses.replace(known, siblings=(*known.siblings, sibling))


def test_a_former_volume_that_is_too_small_grows_before_it_comes_back() -> None:
    """Where its class allows that; one that has no object gets that first."""
    wants = {"claim": claim(size="2Gi", node="n1"), "storage_class": storage_class(expands=True)}
    grows = decide(facts(volumes=(volume(**FORMER), volume("free", size="4Gi")), **wants))
    bare = decide(facts(manifests=(manifest(),), **wants))
    trashed = decide(facts(manifests=(manifest(in_trash=True),), **wants))
    grown = decide(facts(volumes=(volume(**FORMER, size="2Gi"),), **wants))

    assert (Action.EXPAND, "pv", ["former-expanding"]) == (
        grows.action,
        grows.volume,
        [each.code for each in grows.reasons],
    )
    assert (Action.REBUILD, Action.UNDELETE, Action.ADOPT) == (bare.action, trashed.action, grown.action)
    assert explain_claim(facts(volumes=(volume(**FORMER),), **wants)).message == (
        "its former volume pv is expanded from 1Gi to 2Gi before it is adopted"
    )


def test_a_former_volume_that_grows_is_outbid_by_none_that_is_as_small() -> None:
    """The binder's other choices are judged by the size that the volume will have."""
    immediate = storage_class(expands=True, waits=False)
    held = volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany"))
    wants = {"claim": claim(size="2Gi"), "storage_class": immediate}

    assert decide(facts(volumes=(held, volume("free", size="1Gi")), **wants)).action is Action.EXPAND
    assert decide(facts(volumes=(held, volume("free", size="2Gi")), **wants)).reasons[0].code == "former-not-preferred"


@pytest.mark.parametrize("phase", ["Released", "Bound", "Available", "Failed", "Pending"])
def test_the_former_volume_is_adopted_whatever_its_phase_says(phase: str) -> None:
    """Deletion and recreation can be so close that the volume never looked Released."""
    decision = decide(facts(volumes=(volume(**{**FORMER, "phase": phase}), volume("free"))))

    assert (Action.ADOPT, "pv") == (decision.action, decision.volume)


BLOCKED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # why: (the former volume, the other facts, the reason's code)
    "it is being deleted": ({"deleting": True}, {}, "former-deleting"),
    "its policy is Delete": ({"policy": "Delete"}, {}, "former-policy"),
    "it is too small": ({}, {"claim": claim(size="2Gi", node="n1")}, "former-too-small"),
    "its access modes differ": ({}, {"claim": claim(modes=("ReadWriteMany",), node="n1")}, "former-modes"),
    "its volume mode differs": ({"mode": "Block"}, {}, "former-volume-mode"),
    "the selector does not match": ({}, {"claim": claim(selector={"matchLabels": {"a": "b"}})}, "former-selector"),
    "its pool is on no node": ({}, {"nodes": (node(pool="another"),)}, "former-pool-unavailable"),
    "no node is known": ({}, {"nodes": ()}, "former-pool-unavailable"),
    "its class is another": ({"cls": "slow"}, {}, "former-class"),
    "its new attributes class is unknown": (
        {"vac": "gold"},
        {"claim": claim(vac="silver")},
        "attributes-class-unknown",
    ),
    "its new attributes class is another driver's": (
        {"vac": "gold"},
        {"claim": claim(vac="silver"), "attributes_class": AttributesClass("silver", "other.example", {})},
        "attributes-class-foreign",
    ),
    "the binder would take another": (
        {"modes": ("ReadWriteOnce", "ReadOnlyMany")},
        {"storage_class": storage_class(waits=False)},
        "former-not-preferred",
    ),
    "the set is gone": ({"ordinal": "web-0"}, {"stateful_sets": ()}, "former-ordinal"),
    "the set is being deleted": ({"ordinal": "web-0"}, {"stateful_sets": (web(deleting=True),)}, "former-ordinal"),
    "the set has no such template": (
        {"ordinal": "web-0"},
        {"stateful_sets": (web(templates=("x",)),)},
        "former-ordinal",
    ),
    "its ordinal is another set's": ({"ordinal": "b-web-0"}, {}, "former-other-ordinal"),
    "the class contradicts itself": ({}, {"storage_class": storage_class(policy="Delete")}, "class-adopt-delete"),
}


@pytest.mark.parametrize("why", BLOCKED)
def test_a_former_volume_that_may_not_be_taken_leaves_the_claim_waiting(why: str) -> None:
    """Never an empty volume instead, though one would fit and the provisioner could make one."""
    actual, others, code = BLOCKED[why]

    decision = decide(facts(volumes=(volume(**{**FORMER, **actual}), volume("free")), **others))

    assert (Action.WAIT, [code]) == (decision.action, [reason.code for reason in decision.reasons])
    assert "none" not in decision.reasons[0].message
    assert "pv" in decision.reasons[0].message or code.startswith(("class-", "attributes-class-"))


STRANGERS: dict[str, dict[str, Any]] = {
    "of another driver": {"volumes": (volume(**FORMER, driver="other"),)},
    "of another claim": {"volumes": (volume(ref=("www-web-1", "old")),)},
    "in a class that never adopts": {"volumes": (volume(**FORMER),), "storage_class": storage_class(adopt="Never")},
    "of a plain claim where only ordinals are adopted": {"volumes": (volume(**FORMER),), "stateful_sets": ()},
    "whose making was interrupted": {"manifests": (manifest(ready=False),)},
    "whose making was interrupted, in the trash": {"manifests": (manifest(ready=False, in_trash=True),)},
    "manifest of its own": {"manifests": (manifest(uid="new"),)},
}


@pytest.mark.parametrize("whose", STRANGERS)
def test_what_is_not_its_own_is_no_former_volume(whose: str) -> None:
    """The claim gets a new volume, as if the other one were not there."""
    observed = facts(**STRANGERS[whose])

    assert adopt(observed) is None
    assert decide(observed).action is Action.PROVISION


@pytest.mark.parametrize(
    ("actual", "asked", "modifies"),
    [("gold", "silver", True), ("", "silver", True), ("silver", "silver", False)],
)
def test_a_changed_attributes_class_does_not_keep_the_volume_away(actual: str, asked: str, modifies: bool) -> None:
    """It comes back, and is modified to what the claim asks for."""
    silver = AttributesClass("silver", names.DRIVER, {"trashRetention": "1h"})
    known = {"claim": claim(vac=asked, node="n1"), "attributes_class": silver if asked else None}
    bare = manifest()
    if actual:
        bare = dataclasses.replace(bare, holder={**bare.holder, names.HOLDER_ATTRIBUTES_CLASS: actual})

    adopted = decide(facts(volumes=(volume(**FORMER, vac=actual),), **known))
    rebuilt = decide(facts(manifests=(bare,), **known))

    assert (Action.ADOPT, modifies) == (adopted.action, adopted.modifies)
    assert (Action.REBUILD, modifies) == (rebuilt.action, rebuilt.modifies)


def test_a_claim_that_asks_for_no_attributes_class_waits_for_a_volume_that_has_one() -> None:
    """Kubernetes takes no class off a volume, and gives none to a claim that is not bound."""
    decision = decide(facts(volumes=(volume(**FORMER, vac="gold"),), claim=claim(node="n1")))

    assert (Action.WAIT, ["former-attributes-class"]) == (decision.action, [each.code for each in decision.reasons])
    assert "volumeAttributesClassName: gold" in decision.message


RECREATED: dict[str, tuple[dict[str, Any], str]] = {
    "a volume": ({"volumes": (volume(**FORMER, namespace_uid="another"),)}, "former-namespace"),
    "a volume of a namespace that was not recorded": (
        {"volumes": (volume(**FORMER, namespace_uid=""),)},
        "former-namespace",
    ),
    "a volume and a manifest": (
        {"volumes": (volume("a", **FORMER, namespace_uid="another"),), "manifests": (manifest("b"),)},
        "former-namespace",
    ),
    "a volume without its object": ({"manifests": (manifest(),)}, "former-namespace-object"),
    "a volume in the trash": ({"manifests": (manifest(in_trash=True),)}, "former-namespace-object"),
}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("what", RECREATED)
def test_what_was_held_before_the_namespace_was_recreated_makes_the_claim_wait(what: str, waits: bool) -> None:
    """It may be another tenant's: neither returned by itself nor passed over; an admin decides."""
    actual, code = RECREATED[what]
    known = facts(**{**actual, "namespace_uid": "recreated", "storage_class": storage_class(waits=waits)})

    assert (Action.WAIT, [code]) == (decide(known).action, [each.code for each in decide(known).reasons])
    assert decide(known).message == explain_claim(known).message
    forgotten = dataclasses.replace(known.claim, annotations={**known.claim.annotations, names.FORGET: "new"})
    assert decide(dataclasses.replace(known, claim=forgotten)).action is Action.PROVISION


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("what", RECREATED)
def test_a_class_can_say_that_a_recreated_namespace_starts_afresh(what: str, waits: bool) -> None:
    """onNamespaceRecreated: Fresh: a new volume, and the reasons name those that are left where they are."""
    fresh = storage_class(waits=waits, parameters={"onNamespaceRecreated": "Fresh"})
    known = facts(**{**RECREATED[what][0], "namespace_uid": "recreated", "storage_class": fresh})

    decision = decide(known)

    assert (Action.PROVISION, "fresh-namespace") == (decision.action, decision.reasons[-1].code)
    assert decision.reasons[-1].message in explain_claim(known).message
    own = facts(volumes=(volume(**FORMER),), storage_class=fresh)
    assert decide(own).action is Action.ADOPT, "what was held in this very namespace comes back all the same"


def test_a_scratch_claim_of_a_recreated_namespace_gets_a_new_volume() -> None:
    """adopt: Never means that nothing is ever returned; so does a plain claim where only ordinals are adopted."""
    stranger = volume(**FORMER, namespace_uid="another")

    for change in ({"storage_class": storage_class(adopt="Never")}, {"stateful_sets": ()}):
        decision = decide(facts(volumes=(stranger,), **change))
        assert [each.code for each in decision.reasons] == ["provisioning"]


def test_a_plain_claim_adopts_in_a_class_that_says_so() -> None:
    """adopt: Claim means that the same name is enough."""
    observed = facts(volumes=(volume(**FORMER),), stateful_sets=(), storage_class=storage_class(adopt="Claim"))

    assert decide(observed).action is Action.ADOPT


@pytest.mark.parametrize(("in_trash", "action"), [(False, Action.REBUILD), (True, Action.UNDELETE)])
def test_a_volume_known_only_to_its_pool_comes_back_too(in_trash: bool, action: Action) -> None:
    """The PersistentVolume may have been deleted; the data is what counts."""
    decision = decide(facts(manifests=(manifest(in_trash=in_trash),)))

    assert (action, "pv") == (decision.action, decision.volume)


def test_a_manifest_whose_volume_object_exists_is_not_counted_twice() -> None:
    """One volume, seen from two sides."""
    decision = decide(facts(volumes=(volume(**FORMER),), manifests=(manifest(),)))

    assert decision.action is Action.ADOPT


def test_a_volume_made_anew_goes_before_its_namesake_in_the_trash() -> None:
    """Taking the older one out of the trash would be refused, as the handle is in use."""
    manifests = (manifest(), manifest(in_trash=True))

    assert decide(facts(manifests=manifests)).action is Action.REBUILD
    assert decide(facts(manifests=manifests[::-1])).action is Action.REBUILD


def test_a_manifest_of_another_backend_is_not_rebuilt_under_the_claims_class() -> None:
    """A class that promises an enforced size must not be given a directory."""
    decision = decide(facts(manifests=(manifest(backend="loop"),)))

    assert (Action.WAIT, "former-backend") == (decision.action, decision.reasons[0].code)


def test_of_two_sets_whose_names_make_the_same_claim_the_one_that_stays_counts() -> None:
    """Template `www` of set `web` and template `www-web` of no set: names are ambiguous, existence is not."""
    sets = (web(deleting=True), web())

    assert decide(facts(volumes=(volume(**FORMER),), stateful_sets=sets)).action is Action.ADOPT


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500Z"),
        ("2026-01-01T00:00:00.500Z", "2026-01-01T00:00:01Z"),
        ("2026-01-01T00:00:00.500Z", "2026-01-01T00:00:00.500001Z"),
    ],
)
def test_of_several_former_volumes_the_one_held_last_comes_back(earlier: str, later: str) -> None:
    """An older one may be left from an incident; times have as many digits as they need."""
    volumes = (volume("a", **FORMER), volume("b", **FORMER))
    manifests = (manifest("a", since=earlier), manifest("b", since=later))

    assert decide(facts(volumes=volumes, manifests=manifests)).volume == "b"


@pytest.mark.parametrize("since", [("", ""), ("2026-01-01", "2026-01-01"), ("", "2026-01-01")])
def test_nothing_is_guessed_when_several_could_be_the_last(since: tuple[str, str]) -> None:
    """Equal times, or one that is not known: somebody has to say which."""
    manifests = tuple(manifest(name, since=when) for name, when in zip(("a", "b"), since, strict=True))
    decision = decide(facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)), manifests=manifests))

    assert (Action.WAIT, "former-several") == (decision.action, decision.reasons[0].code)


ORDER: dict[str, tuple[dict[str, Any], Action, str]] = {
    # the facts: (action, code of the reason)
    "bound": ({"claim": claim(bound=True, volume="pv"), "volumes": (volume(ref=("www-web-0", "new")),)}, Action.DONE, "bound"),
    "reserved before former": (
        {"volumes": (volume("mine", ref=("www-web-0", "new")), volume("old", **FORMER))}, Action.BIND, "",
    ),
    "best fit before new": ({"storage_class": storage_class(waits=False), "volumes": (volume("free"),)}, Action.BIND, ""),
    "a new one on the selected node": ({}, Action.PROVISION, "provisioning"),
    "a new one at once": ({"claim": claim(), "storage_class": storage_class(waits=False)}, Action.PROVISION, "provisioning"),
    "no consumer": ({"claim": claim()}, Action.WAIT, "first-consumer"),
    "a consumer that is not scheduled": ({"claim": claim(), "pods": (pod(),)}, Action.WAIT, "unscheduled"),
    "a pod that goes around the scheduler": ({"claim": claim(), "pods": (pod(node_name="n1"),)}, Action.WAIT, "node-name"),
    "its node is gone": ({"claim": claim(node="n9")}, Action.WAIT, "node-unknown"),
    "no class at all": ({"claim": claim(cls=None), "storage_class": None}, Action.WAIT, "no-class"),
    "an unknown class": ({"claim": claim(cls="gone"), "storage_class": None}, Action.WAIT, "class-unknown"),
    "a class without provisioner": (
        {"storage_class": storage_class(provisioner="kubernetes.io/no-provisioner")}, Action.WAIT, "class-static",
    ),
    "somebody else's class": ({"storage_class": storage_class(provisioner="other")}, Action.NOT_MANAGED, "class-foreign"),
    "a wrong parameter": ({"storage_class": storage_class(parameters={"x": "y"})}, Action.WAIT, "class-parameters"),
    "a selector": ({"claim": claim(selector={"matchLabels": {"a": "b"}}, node="n1")}, Action.WAIT, "selector-set"),
    "a contradiction": ({"storage_class": storage_class(policy="Delete")}, Action.WAIT, "class-adopt-delete"),
    "it names a volume that is not there": ({"claim": claim(volume="x")}, Action.WAIT, "volume-unknown"),
    "its volume is gone": ({"claim": claim(bound=True, volume="x")}, Action.WAIT, "lost"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDER)
def test_claims_get_their_volume_in_one_order(case: str) -> None:
    """Own, former, fitting, new; and one reason where there is none (I7)."""
    others, action, code = ORDER[case]

    decision = decide(facts(**others))

    assert (action, code) == (decision.action, decision.reasons[0].code if decision.reasons else "")


def test_every_reason_has_a_sentence_that_ends_in_no_placeholder() -> None:
    """Sentences are formatted with what was wanted and had, and nothing else."""
    for code, message in MESSAGES.items():
        assert message.format(requested="W", actual="H"), code
        assert not message.endswith("."), code


@pytest.mark.parametrize(
    ("template", "of_set", "action"),
    [("a", "b-c", Action.ADOPT), ("a-b", "c", Action.ADOPT), ("a-b-c", "d", Action.WAIT)],
)
def test_names_that_two_sets_share_are_told_apart_by_what_was_noted(template: str, of_set: str, action: Action) -> None:
    """Template `a` of set `b-c` and template `a-b` of set `c` both make a-b-c-0; who held it was one of a living set."""
    sets = (
        dataclasses.replace(web(templates=("a",)), name="b-c"),
        dataclasses.replace(web(templates=("a-b",)), name="c"),
    )
    held = volume(ref=("a-b-c-0", "old"), phase="Released")
    noted = {names.TEMPLATE: template, names.STATEFUL_SET: of_set, names.ORDINAL: "0"}
    held = dataclasses.replace(held, annotations={**held.annotations, **noted})

    assert decide(facts(claim=claim("a-b-c-0"), volumes=(held,), stateful_sets=sets)).action is action


def test_a_class_with_two_mistakes_keeps_its_opt_in() -> None:
    """A typing error in another parameter must not turn adoption into an empty disk."""
    odd: StorageClass = storage_class(parameters={"backnd": "loop"})

    assert decide(facts(storage_class=odd, volumes=(volume(**FORMER),))).action is Action.ADOPT
