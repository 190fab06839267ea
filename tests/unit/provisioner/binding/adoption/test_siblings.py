"""The claims of one pod get their volumes together, on one node, or not yet."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.explain import explain_claim
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.model import history, names
from provisioner.model.claim import Claim
from provisioner.model.history import Owner
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding.adoption.test_evaluate import beside, facts
from tests.unit.provisioner.binding.objects import POOL, claim, manifest, node, storage_class, volume, web

SETS = (web(templates=("www", "data")),)
TWO_NODES = (node("n1"), node("n2", pool="2"))


def on_pool(pool: str) -> dict[str, Any]:
    """The affinity of a volume there."""
    expression = {"key": f"pool.mooring.dev/{pool}", "operator": "In", "values": ["present"]}
    return {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}


def former(name: str, claim_name: str, *, pool: str = POOL, **others: Any) -> Volume:
    """A volume that the claim of this name held before."""
    usual: dict[str, Any] = {"ref": (claim_name, "old"), "phase": "Released", "affinity": on_pool(pool)}
    return dataclasses.replace(volume(name, **{**usual, **others}), handle=f"{pool}.{name}")


def pod_of_two(*volumes: Volume, asked: Claim | None = None, sibling: Claim | None = None, **others: Any) -> Facts:
    """The claims www-web-0, which is decided, and data-web-0 of one pod."""
    known = facts(claim=asked or claim(), volumes=volumes, stateful_sets=SETS, nodes=TWO_NODES, **others)
    return beside(known, claim=sibling or claim("data-web-0", uid="sib"))


def from_the_other_side(known: Facts) -> Facts:
    """The same, and it is the sibling that is decided."""
    (sibling,) = known.siblings
    return dataclasses.replace(sibling, siblings=(dataclasses.replace(known, siblings=()),))


def code_of(known: Facts) -> str:
    """The first reason."""
    return next((each.code for each in decide(known).reasons), "")


WWW, DATA = former("a", "www-web-0"), former("b", "data-web-0")


def test_former_volumes_on_one_node_come_back_to_all_claims_of_a_pod() -> None:
    """Each of the claims comes to the same answer."""
    known = pod_of_two(WWW, DATA)

    assert (Action.ADOPT, "a") == (decide(known).action, decide(known).volume)
    assert (Action.ADOPT, "b") == (decide(from_the_other_side(known)).action, decide(from_the_other_side(known)).volume)


TOGETHER: dict[str, tuple[tuple[Volume, ...], dict[str, Any], str]] = {
    # what is with the sibling: (the volumes, other facts, the reason why this claim waits)
    "its volume is on another node": ((WWW, former("b", "data-web-0", pool="2")), {}, "former-on-different-nodes"),
    "its volume is on no node": ((WWW, former("b", "data-web-0", pool="3")), {}, "former-sibling"),
    "its volume may be deleted": ((WWW, former("b", "data-web-0", policy="Delete")), {}, "former-sibling"),
    "it has several": ((WWW, DATA, former("c", "data-web-0")), {}, "former-sibling"),
    "it asks for too much": ((WWW, DATA), {"sibling": claim("data-web-0", uid="sib", size="2Gi")}, "former-sibling"),
    "it is being deleted": ((WWW, DATA), {"sibling": claim("data-web-0", uid="sib", deleting=True)}, "former-sibling-deleting"),
    "its volume has to grow first": (
        (WWW, DATA),
        {"sibling": claim("data-web-0", uid="sib", size="2Gi"), "storage_class": storage_class(expands=True)},
        "former-sibling-expanding",
    ),
    "it is bound on another node": (
        (WWW, volume("b", ref=("data-web-0", "sib"), affinity=on_pool("2"))),
        {"sibling": claim("data-web-0", uid="sib", volume="b", bound=True)},
        "former-on-different-nodes",
    ),
    "it is being bound on another node": ((WWW, volume("b", ref=("data-web-0", "sib"), affinity=on_pool("2"))), {}, "former-on-different-nodes"),
}  # fmt: skip


@pytest.mark.parametrize("why", TOGETHER)
def test_no_former_volume_comes_back_without_those_of_the_siblings(why: str) -> None:
    """The claim waits, and the sentence names its own volume and the sibling."""
    volumes, others, code = TOGETHER[why]
    known = pod_of_two(*volumes, **others)
    decision = decide(known)

    assert (Action.WAIT, code, "a") == (decision.action, code_of(known), decision.volume)
    assert "volume a: " in decision.message
    assert "data-web-0" in decision.message
    assert decision.message == explain_claim(known).message


NO_HINDRANCE: dict[str, tuple[tuple[Volume, ...], dict[str, Any]]] = {
    "never had a volume": ((WWW,), {}),
    "was told to forget its own": (
        (WWW, former("b", "data-web-0", pool="2")),
        {"sibling": dataclasses.replace(claim("data-web-0", uid="sib"), annotations={names.FORGET: "sib"})},
    ),
    "is bound on the same node": (
        (WWW, volume("b", ref=("data-web-0", "sib"), affinity=on_pool(POOL))),
        {"sibling": claim("data-web-0", uid="sib", volume="b", bound=True)},
    ),
    "lost its volume": ((WWW,), {"sibling": claim("data-web-0", uid="sib", volume="gone", bound=True)}),
}


@pytest.mark.parametrize("what", NO_HINDRANCE)
def test_a_sibling_is_no_hindrance_when_it(what: str) -> None:
    """The former volume comes back, and the pod follows it."""
    volumes, others = NO_HINDRANCE[what]

    assert (Action.ADOPT, "a") == (decide(pod_of_two(*volumes, **others)).action, "a")


def test_a_claim_that_the_set_has_yet_to_make_is_waited_for() -> None:
    """Its volume may be on another node, and nobody has judged it yet."""
    known = facts(volumes=(WWW,), stateful_sets=SETS, missing=("data-web-0",))

    assert "former-sibling-missing" == code_of(known)


def test_volumes_that_are_all_too_small_grow_at_the_same_time() -> None:
    """Otherwise each would wait for the other."""
    known = pod_of_two(
        WWW,
        DATA,
        asked=claim(size="2Gi"),
        sibling=claim("data-web-0", uid="sib", size="2Gi"),
        storage_class=storage_class(expands=True),
    )

    assert (Action.EXPAND, Action.EXPAND) == (decide(known).action, decide(from_the_other_side(known)).action)


def test_a_volume_without_an_object_is_where_its_pool_is() -> None:
    """Known to the disk alone, it counts like any other."""
    near, far = manifest("b", claim_name="data-web-0"), manifest("b", claim_name="data-web-0")
    far = dataclasses.replace(far, handle="2.b")
    known = {pool: pod_of_two(WWW) for pool in ("near", "far")}
    found = {
        key: dataclasses.replace(each, siblings=(dataclasses.replace(each.siblings[0], manifests=(at,)),))
        for (key, each), at in zip(known.items(), (near, far), strict=True)
    }

    assert (Action.ADOPT, "former-on-different-nodes") == (decide(found["near"]).action, code_of(found["far"]))


def adopted(phase: str = "Released", *, holders: tuple[str, ...] = ("old", "new")) -> Volume:
    """The claim's former volume, given back to it, and not bound yet."""
    told = history.write([Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in holders])
    found = former("a", "www-web-0", ref=("www-web-0", "new"), phase=phase)
    return dataclasses.replace(found, annotations={**found.annotations, names.HISTORY: told})


BLOCKED = former("b", "data-web-0", pool="3")


def test_an_adoption_whose_sibling_cannot_follow_is_undone() -> None:
    """The controller ended after one of two, and meanwhile the other's disk went."""
    undone = decide(pod_of_two(adopted(), BLOCKED))

    assert (Action.REVERT_ADOPTION, "a", "former-sibling") == (undone.action, undone.volume, undone.reasons[0].code)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (adopted("Bound"), BLOCKED),  # the binder has begun, and would not hear of it
        (adopted(holders=("new",)), BLOCKED),  # it was made for this claim
        (
            adopted(holders=("older", "old")),
            BLOCKED,
        ),  # an admin's word, `mooring adopt`, which is not Mooring's to undo
        (adopted(), DATA),
    ],
)
def test_nothing_else_is_undone(own: Volume, theirs: Volume) -> None:
    """The claim is bound to what names it."""
    assert (Action.BIND, "a") == (decide(pod_of_two(own, theirs)).action, "a")


def immediate(*volumes: Volume, asked: str = "www-web-0", sibling: Claim | None = None) -> Facts:
    """A pod of two claims in a class that does not wait for the scheduler."""
    now = storage_class(waits=False)
    return pod_of_two(*volumes, asked=claim(asked), sibling=sibling, storage_class=now)


def test_without_a_scheduler_claims_of_one_pod_are_made_on_one_node() -> None:
    """The first by name gets its volume, and the others only where that is."""
    first = immediate(asked="a-web-0")
    second = immediate()
    known = immediate(volume("b", ref=("data-web-0", "sib"), affinity=on_pool("2")))

    assert (Action.PROVISION, frozenset({"n1", "n2"})) == (decide(first).action, decide(first).candidates)
    assert (Action.WAIT, "after-sibling") == (decide(second).action, code_of(second))
    assert (Action.PROVISION, frozenset({"n2"})) == (decide(known).action, decide(known).candidates)


def test_without_a_scheduler_a_claim_that_the_set_has_yet_to_make_is_waited_for() -> None:
    """The one that is first by name gets its volume first, be it there yet or not."""
    now = storage_class(waits=False)
    known = facts(claim=claim(), storage_class=now, stateful_sets=SETS, missing=("data-web-0",))
    first = facts(claim=claim("data-web-0"), storage_class=now, stateful_sets=SETS, missing=("www-web-0",))

    assert ("after-sibling", Action.PROVISION) == (code_of(known), decide(first).action)


@pytest.mark.limit("claims-before-pods")
def test_claims_that_nothing_holds_together_are_made_anywhere() -> None:
    """No set makes them, and no pod mounts them yet."""
    decision = decide(facts(claim=claim(), storage_class=storage_class(waits=False), stateful_sets=(), nodes=TWO_NODES))

    assert (Action.PROVISION, None) == (decision.action, decision.candidates)


@pytest.mark.parametrize(
    ("sibling", "code"),
    [(former("b", "data-web-0", pool="3"), "sibling-waits"), (volume("b", ref=("data-web-0", "sib"), affinity=on_pool("3")), "sibling-unavailable")],
)  # fmt: skip
def test_without_a_scheduler_nothing_is_made_while_a_siblings_disk_is_away(sibling: Volume, code: str) -> None:
    """Wherever it were made, the pod might never start."""
    assert (Action.WAIT, code) == (decide(immediate(sibling)).action, code_of(immediate(sibling)))


def test_a_sibling_that_the_scheduler_has_to_place_is_not_waited_for() -> None:
    """That one waits for the pod, and the pod for this claim."""
    known = immediate()
    later = dataclasses.replace(known.siblings[0], storage_class=storage_class(waits=True))

    assert Action.PROVISION is decide(dataclasses.replace(known, siblings=(later,))).action


FORMERS = st.fixed_dictionaries(
    {},
    optional={
        "pool": st.sampled_from([POOL, POOL, "2", "3"]),
        "size": st.sampled_from(["1Gi", "512Mi"]),
        "policy": st.sampled_from(["Retain", "Retain", "Delete"]),
        "cls": st.sampled_from(["fast", "fast", "slow"]),
        "deleting": st.booleans(),
    },
)


@given(FORMERS, FORMERS, st.booleans())
def test_either_all_former_volumes_of_a_pod_come_back_or_none(
    ours: dict[str, Any], theirs: dict[str, Any], expands: bool
) -> None:
    """Whatever is with them, one claim is given its volume exactly when the other is."""
    volumes = former("a", "www-web-0", **ours), former("b", "data-web-0", **theirs)
    known = pod_of_two(*volumes, storage_class=storage_class(expands=expands))
    mine, other = decide(known), decide(from_the_other_side(known))

    assert {mine.action, other.action} <= {Action.ADOPT, Action.EXPAND, Action.WAIT}
    assert (mine.action is Action.ADOPT) == (other.action is Action.ADOPT)


@given(st.lists(FORMERS, min_size=2, max_size=4), st.booleans())
def test_no_two_claims_wait_for_each_other(many: list[dict[str, Any]], expands: bool) -> None:
    """Of a pod whose claims all wait, at least one has a reason of its own, and so a way out."""
    templates = tuple("abcd"[: len(many)])
    volumes = Index(former(each, f"{each}-web-0", **actual) for each, actual in zip(templates, many, strict=True))
    cls, sets = storage_class(expands=expands), (web(templates=templates),)
    alone = [
        dataclasses.replace(
            facts(claim=claim(f"{each}-web-0", uid=each), stateful_sets=sets, nodes=TWO_NODES, storage_class=cls),
            volumes=volumes,
        )
        for each in templates
    ]
    decisions = [
        decide(dataclasses.replace(one, siblings=tuple(each for each in alone if each is not one))) for one in alone
    ]
    codes = {reason.code for each in decisions for reason in each.reasons}

    if all(each.action is Action.WAIT for each in decisions):
        assert codes - {"former-sibling", "former-sibling-expanding", "former-sibling-deleting"}
