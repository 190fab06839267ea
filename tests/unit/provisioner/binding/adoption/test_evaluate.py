"""A recreated claim adopts its former volume, or waits with the reason; it never adopts another claim's."""

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
    """Return the facts of a recreated claim of an existing set, its class and node, changed by `others`."""
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
    """Return the facts with one more sibling, whose facts are the same except for `others`."""
    usual: dict[str, Any] = {"claim": claim(claim_name, uid="sib"), "siblings": (), "pods": ()}
    sibling = dataclasses.replace(known, **{**usual, **others})
    return dataclasses.replace(known, siblings=(*known.siblings, sibling))


def test_a_former_volume_that_is_too_small_is_expanded_before_it_is_adopted() -> None:
    """Its class has to allow that; a PersistentVolume that does not exist is created first."""
    requested = {"claim": claim(size="2Gi", node="n1"), "storage_class": storage_class(expands=True)}
    small = decide(facts(volumes=(volume(**FORMER), volume("free", size="4Gi")), **requested))
    in_pool = decide(facts(manifests=(manifest(),), **requested))
    in_trash = decide(facts(manifests=(manifest(in_trash=True),), **requested))
    large = decide(facts(volumes=(volume(**FORMER, size="2Gi"),), **requested))

    assert (Action.EXPAND, "pv", ["former-expanding"]) == (
        small.action,
        small.volume,
        [each.code for each in small.reasons],
    )
    assert (Action.REBUILD, Action.UNDELETE, Action.ADOPT) == (in_pool.action, in_trash.action, large.action)
    assert explain_claim(facts(volumes=(volume(**FORMER),), **requested)).message == (
        "its former volume pv is expanded from 1Gi to 2Gi before it is adopted"
    )


def test_no_volume_that_is_too_small_is_preferred_to_a_former_volume_that_is_expanded() -> None:
    """The other volumes are compared with the capacity that the former volume will have."""
    immediate = storage_class(expands=True, waits=False)
    former = volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany"))
    requested = {"claim": claim(size="2Gi"), "storage_class": immediate}

    assert decide(facts(volumes=(former, volume("free", size="1Gi")), **requested)).action is Action.EXPAND
    assert (
        decide(facts(volumes=(former, volume("free", size="2Gi")), **requested)).reasons[0].code
        == "former-not-preferred"
    )


@pytest.mark.parametrize("phase", ["Released", "Bound", "Available", "Failed", "Pending"])
def test_the_former_volume_is_adopted_in_every_phase(phase: str) -> None:
    """A claim can be recreated before the phase of its former volume becomes Released."""
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
    "its class differs": ({"cls": "slow"}, {}, "former-class"),
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
    "the binder would prefer another": (
        {"modes": ("ReadWriteOnce", "ReadOnlyMany")},
        {"storage_class": storage_class(waits=False)},
        "former-not-preferred",
    ),
    "the set does not exist": ({"ordinal": "web-0"}, {"stateful_sets": ()}, "former-ordinal"),
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
def test_a_claim_waits_for_a_former_volume_that_it_cannot_adopt(why: str) -> None:
    """It never gets an empty volume instead, although one fits and a new one could be provisioned."""
    actual, others, code = BLOCKED[why]

    decision = decide(facts(volumes=(volume(**{**FORMER, **actual}), volume("free")), **others))

    assert (Action.WAIT, [code]) == (decision.action, [reason.code for reason in decision.reasons])
    assert "none" not in decision.reasons[0].message
    assert "pv" in decision.reasons[0].message or code.startswith(("class-", "attributes-class-"))


NOT_FORMER: dict[str, dict[str, Any]] = {
    "of another driver": {"volumes": (volume(**FORMER, driver="other"),)},
    "of another claim": {"volumes": (volume(ref=("www-web-1", "old")),)},
    "in a class that never adopts": {"volumes": (volume(**FORMER),), "storage_class": storage_class(adopt="Never")},
    "of a plain claim where only ordinals are adopted": {"volumes": (volume(**FORMER),), "stateful_sets": ()},
    "whose creation was interrupted": {"manifests": (manifest(ready=False),)},
    "whose creation was interrupted, in the trash": {"manifests": (manifest(ready=False, in_trash=True),)},
    "created for this claim": {"manifests": (manifest(uid="new"),)},
}


@pytest.mark.parametrize("which", NOT_FORMER)
def test_a_volume_of_another_owner_is_no_former_volume(which: str) -> None:
    """The claim gets a new volume, as if the other volume did not exist."""
    observed = facts(**NOT_FORMER[which])

    assert adopt(observed) is None
    assert decide(observed).action is Action.PROVISION


@pytest.mark.parametrize(
    ("actual", "requested", "modifies"),
    [("gold", "silver", True), ("", "silver", True), ("silver", "silver", False)],
)
def test_a_changed_attributes_class_does_not_prevent_adoption(actual: str, requested: str, modifies: bool) -> None:
    """The volume is adopted, and modified to the requested VolumeAttributesClass."""
    silver = AttributesClass("silver", names.DRIVER, {"trashRetention": "1h"})
    known = {"claim": claim(vac=requested, node="n1"), "attributes_class": silver if requested else None}
    bare = manifest()
    if actual:
        bare = dataclasses.replace(bare, holder={**bare.holder, names.HOLDER_ATTRIBUTES_CLASS: actual})

    adopted = decide(facts(volumes=(volume(**FORMER, vac=actual),), **known))
    rebuilt = decide(facts(manifests=(bare,), **known))

    assert (Action.ADOPT, modifies) == (adopted.action, adopted.modifies)
    assert (Action.REBUILD, modifies) == (rebuilt.action, rebuilt.modifies)


def test_a_claim_without_an_attributes_class_waits_when_its_former_volume_has_one() -> None:
    """Kubernetes cannot remove the class of a volume, nor set that of an unbound claim."""
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
def test_a_claim_waits_for_a_former_volume_of_a_recreated_namespace(what: str, waits: bool) -> None:
    """The volume may belong to another tenant, so it is neither adopted nor ignored; an admin decides."""
    actual, code = RECREATED[what]
    known = facts(**{**actual, "namespace_uid": "recreated", "storage_class": storage_class(waits=waits)})

    assert (Action.WAIT, [code]) == (decide(known).action, [each.code for each in decide(known).reasons])
    assert decide(known).message == explain_claim(known).message
    forgetting = dataclasses.replace(known.claim, annotations={**known.claim.annotations, names.FORGET: "new"})
    assert decide(dataclasses.replace(known, claim=forgetting)).action is Action.PROVISION


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("what", RECREATED)
def test_a_class_can_request_new_volumes_in_a_recreated_namespace(what: str, waits: bool) -> None:
    """onNamespaceRecreated: Fresh leads to a new volume, and the reasons name the unchanged former volumes."""
    fresh = storage_class(waits=waits, parameters={"onNamespaceRecreated": "Fresh"})
    known = facts(**{**RECREATED[what][0], "namespace_uid": "recreated", "storage_class": fresh})

    decision = decide(known)

    assert (Action.PROVISION, "fresh-namespace") == (decision.action, decision.reasons[-1].code)
    assert decision.reasons[-1].message in explain_claim(known).message
    own = facts(volumes=(volume(**FORMER),), storage_class=fresh)
    assert decide(own).action is Action.ADOPT, "a former volume of this namespace is adopted"


def test_a_scratch_claim_of_a_recreated_namespace_gets_a_new_volume() -> None:
    """Neither adopt: Never nor a claim of no ordinal in a class with adopt: Ordinal adopts a volume."""
    former = volume(**FORMER, namespace_uid="another")

    for change in ({"storage_class": storage_class(adopt="Never")}, {"stateful_sets": ()}):
        decision = decide(facts(volumes=(former,), **change))
        assert [each.code for each in decision.reasons] == ["provisioning"]


def test_a_claim_of_no_ordinal_adopts_in_a_class_with_adopt_claim() -> None:
    """With adopt: Claim the same name suffices."""
    observed = facts(volumes=(volume(**FORMER),), stateful_sets=(), storage_class=storage_class(adopt="Claim"))

    assert decide(observed).action is Action.ADOPT


@pytest.mark.parametrize(("in_trash", "action"), [(False, Action.REBUILD), (True, Action.UNDELETE)])
def test_a_former_volume_without_an_object_is_adopted(in_trash: bool, action: Action) -> None:
    """The PersistentVolume may have been deleted; it is recreated from the manifest."""
    decision = decide(facts(manifests=(manifest(in_trash=in_trash),)))

    assert (action, "pv") == (decision.action, decision.volume)


def test_a_manifest_whose_volume_object_exists_is_not_counted_twice() -> None:
    """The manifest and the PersistentVolume are one volume."""
    decision = decide(facts(volumes=(volume(**FORMER),), manifests=(manifest(),)))

    assert decision.action is Action.ADOPT


def test_a_recreated_volume_is_preferred_to_one_of_the_same_handle_in_the_trash() -> None:
    """Restoring the older one from the trash would be refused, since the handle is in use."""
    manifests = (manifest(), manifest(in_trash=True))

    assert decide(facts(manifests=manifests)).action is Action.REBUILD
    assert decide(facts(manifests=manifests[::-1])).action is Action.REBUILD


def test_a_manifest_of_another_backend_is_not_rebuilt_under_the_claims_class() -> None:
    """A claim of a class that enforces the size must not get a directory."""
    decision = decide(facts(manifests=(manifest(backend="loop"),)))

    assert (Action.WAIT, "former-backend") == (decision.action, decision.reasons[0].code)


def test_of_two_sets_with_the_same_claim_name_the_one_that_is_not_deleted_counts() -> None:
    """A claim name can belong to several sets; only a set that is not being deleted owns it."""
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
def test_of_several_former_volumes_the_last_one_is_adopted(earlier: str, later: str) -> None:
    """The last one is that with the latest time; times may have fractions of a second."""
    volumes = (volume("a", **FORMER), volume("b", **FORMER))
    manifests = (manifest("a", since=earlier), manifest("b", since=later))

    assert decide(facts(volumes=volumes, manifests=manifests)).volume == "b"


@pytest.mark.parametrize("since", [("", ""), ("2026-01-01", "2026-01-01"), ("", "2026-01-01")])
def test_a_claim_waits_when_its_last_former_volume_is_unknown(since: tuple[str, str]) -> None:
    """Where times are equal or one is unknown, an admin has to choose."""
    manifests = tuple(manifest(name, since=when) for name, when in zip(("a", "b"), since, strict=True))
    decision = decide(facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)), manifests=manifests))

    assert (Action.WAIT, "former-several") == (decision.action, decision.reasons[0].code)


ORDER: dict[str, tuple[dict[str, Any], Action, str]] = {
    # the facts: (action, code of the reason)
    "bound": ({"claim": claim(bound=True, volume="pv"), "volumes": (volume(ref=("www-web-0", "new")),)}, Action.DONE, "bound"),
    "reserved before former": (
        {"volumes": (volume("reserved", ref=("www-web-0", "new")), volume("old", **FORMER))}, Action.BIND, "",
    ),
    "best fit before new": ({"storage_class": storage_class(waits=False), "volumes": (volume("free"),)}, Action.BIND, ""),
    "a new one on the selected node": ({}, Action.PROVISION, "provisioning"),
    "a new one at once": ({"claim": claim(), "storage_class": storage_class(waits=False)}, Action.PROVISION, "provisioning"),
    "no consumer": ({"claim": claim()}, Action.WAIT, "first-consumer"),
    "a consumer that is not scheduled": ({"claim": claim(), "pods": (pod(),)}, Action.WAIT, "unscheduled"),
    "a pod that bypasses the scheduler": ({"claim": claim(), "pods": (pod(node_name="n1"),)}, Action.WAIT, "node-name"),
    "its node does not exist": ({"claim": claim(node="n9")}, Action.WAIT, "node-unknown"),
    "no class at all": ({"claim": claim(cls=None), "storage_class": None}, Action.WAIT, "no-class"),
    "an unknown class": ({"claim": claim(cls="gone"), "storage_class": None}, Action.WAIT, "class-unknown"),
    "a class without provisioner": (
        {"storage_class": storage_class(provisioner="kubernetes.io/no-provisioner")}, Action.WAIT, "class-static",
    ),
    "another provisioner's class": ({"storage_class": storage_class(provisioner="other")}, Action.NOT_MANAGED, "class-foreign"),
    "an unknown parameter": ({"storage_class": storage_class(parameters={"x": "y"})}, Action.WAIT, "class-parameters"),
    "a selector": ({"claim": claim(selector={"matchLabels": {"a": "b"}}, node="n1")}, Action.WAIT, "selector-set"),
    "a contradiction": ({"storage_class": storage_class(policy="Delete")}, Action.WAIT, "class-adopt-delete"),
    "it names a volume that does not exist": ({"claim": claim(volume="x")}, Action.WAIT, "volume-unknown"),
    "its volume does not exist": ({"claim": claim(bound=True, volume="x")}, Action.WAIT, "lost"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDER)
def test_claims_get_their_volume_in_one_order(case: str) -> None:
    """The order is own, former, fitting, new; without a volume there is one reason (I7)."""
    others, action, code = ORDER[case]

    decision = decide(facts(**others))

    assert (action, code) == (decision.action, decision.reasons[0].code if decision.reasons else "")


def test_every_reason_has_a_message_without_a_full_stop() -> None:
    """Messages are formatted with the requested and the actual value only."""
    for code, message in MESSAGES.items():
        assert message.format(requested="R", actual="A"), code
        assert not message.endswith("."), code


@pytest.mark.parametrize(
    ("template", "of_set", "action"),
    [("a", "b-c", Action.ADOPT), ("a-b", "c", Action.ADOPT), ("a-b-c", "d", Action.WAIT)],
)
def test_claim_names_of_two_sets_are_distinguished_by_the_recorded_owner(
    template: str, of_set: str, action: Action
) -> None:
    """Template `a` of set `b-c` and `a-b` of set `c` have the same claim a-b-c-0; the recorded owner decides."""
    sets = (
        dataclasses.replace(web(templates=("a",)), name="b-c"),
        dataclasses.replace(web(templates=("a-b",)), name="c"),
    )
    former = volume(ref=("a-b-c-0", "old"), phase="Released")
    owner = {names.TEMPLATE: template, names.STATEFUL_SET: of_set, names.ORDINAL: "0"}
    former = dataclasses.replace(former, annotations={**former.annotations, **owner})

    assert decide(facts(claim=claim("a-b-c-0"), volumes=(former,), stateful_sets=sets)).action is action


def test_a_class_with_an_invalid_parameter_still_adopts() -> None:
    """A typing error in another parameter must not lead to an empty volume instead of adoption."""
    invalid: StorageClass = storage_class(parameters={"backnd": "loop"})

    assert decide(facts(storage_class=invalid, volumes=(volume(**FORMER),))).action is Action.ADOPT
