"""The claims of one pod get volumes that one node reaches, or wait."""

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
    """Return the node affinity of a volume in that pool."""
    expression = {"key": f"pool.mooring.dev/{pool}", "operator": "In", "values": ["present"]}
    return {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}


def former(name: str, claim_name: str, *, pool: str = POOL, **others: Any) -> Volume:
    """Return a former volume of the claim of this name."""
    usual: dict[str, Any] = {"ref": (claim_name, "old"), "phase": "Released", "affinity": on_pool(pool)}
    return dataclasses.replace(volume(name, **{**usual, **others}), handle=f"{pool}.{name}")


def pod_of_two(*volumes: Volume, requested: Claim | None = None, sibling: Claim | None = None, **others: Any) -> Facts:
    """Return the facts of the claim www-web-0, with the sibling data-web-0."""
    known = facts(claim=requested or claim(), volumes=volumes, stateful_sets=SETS, nodes=TWO_NODES, **others)
    return beside(known, claim=sibling or claim("data-web-0", uid="sib"))


def of_the_sibling(known: Facts) -> Facts:
    """Return the facts of the sibling."""
    (sibling,) = known.siblings
    return dataclasses.replace(sibling, siblings=(dataclasses.replace(known, siblings=()),))


def code_of(known: Facts) -> str:
    """Return the code of the first reason."""
    return next((each.code for each in decide(known).reasons), "")


WWW, DATA = former("a", "www-web-0"), former("b", "data-web-0")


def test_all_claims_of_a_pod_adopt_their_former_volumes_on_one_node() -> None:
    """The decisions for both claims agree."""
    known = pod_of_two(WWW, DATA)

    assert (Action.ADOPT, "a") == (decide(known).action, decide(known).volume)
    assert (Action.ADOPT, "b") == (decide(of_the_sibling(known)).action, decide(of_the_sibling(known)).volume)


TOGETHER: dict[str, tuple[tuple[Volume, ...], dict[str, Any], str]] = {
    # the sibling's state: (the volumes, other facts, the reason why this claim waits)
    "its volume is on another node": ((WWW, former("b", "data-web-0", pool="2")), {}, "former-on-different-nodes"),
    "its volume is on no node": ((WWW, former("b", "data-web-0", pool="3")), {}, "former-sibling"),
    "its volume may be deleted": ((WWW, former("b", "data-web-0", policy="Delete")), {}, "former-sibling"),
    "it has several": ((WWW, DATA, former("c", "data-web-0")), {}, "former-sibling"),
    "it requests too much": ((WWW, DATA), {"sibling": claim("data-web-0", uid="sib", size="2Gi")}, "former-sibling"),
    "it is being deleted": ((WWW, DATA), {"sibling": claim("data-web-0", uid="sib", deleting=True)}, "former-sibling-deleting"),
    "its volume has to be expanded first": (
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
def test_no_former_volume_is_adopted_without_those_of_the_siblings(why: str) -> None:
    """The claim waits, and the message names its former volume and the sibling."""
    volumes, others, code = TOGETHER[why]
    known = pod_of_two(*volumes, **others)
    decision = decide(known)

    assert (Action.WAIT, code, "a") == (decision.action, code_of(known), decision.volume)
    assert "volume a: " in decision.message
    assert "data-web-0" in decision.message
    assert decision.message == explain_claim(known).message


INDEPENDENT: dict[str, tuple[tuple[Volume, ...], dict[str, Any]]] = {
    "never had a volume": ((WWW,), {}),
    "forgets its former volume": (
        (WWW, former("b", "data-web-0", pool="2")),
        {"sibling": dataclasses.replace(claim("data-web-0", uid="sib"), annotations={names.FORGET: "sib"})},
    ),
    "is bound on the same node": (
        (WWW, volume("b", ref=("data-web-0", "sib"), affinity=on_pool(POOL))),
        {"sibling": claim("data-web-0", uid="sib", volume="b", bound=True)},
    ),
    "lost its volume": ((WWW,), {"sibling": claim("data-web-0", uid="sib", volume="gone", bound=True)}),
}


@pytest.mark.parametrize("what", INDEPENDENT)
def test_a_claim_adopts_regardless_of_a_sibling_that(what: str) -> None:
    """The former volume is adopted, and the pod is scheduled to its node."""
    volumes, others = INDEPENDENT[what]

    assert (Action.ADOPT, "a") == (decide(pod_of_two(*volumes, **others)).action, "a")


def test_a_claim_waits_for_a_sibling_that_the_set_has_not_created() -> None:
    """The former volume of the missing sibling may be on another node."""
    known = facts(volumes=(WWW,), stateful_sets=SETS, missing=("data-web-0",))

    assert "former-sibling-missing" == code_of(known)


def test_volumes_that_are_all_too_small_are_expanded_at_the_same_time() -> None:
    """Otherwise each claim would wait for the other."""
    known = pod_of_two(
        WWW,
        DATA,
        requested=claim(size="2Gi"),
        sibling=claim("data-web-0", uid="sib", size="2Gi"),
        storage_class=storage_class(expands=True),
    )

    assert (Action.EXPAND, Action.EXPAND) == (decide(known).action, decide(of_the_sibling(known)).action)


def test_a_volume_without_an_object_is_on_the_node_of_its_pool() -> None:
    """A volume that only its manifest represents counts like any other."""
    same_node, other_node = manifest("b", claim_name="data-web-0"), manifest("b", claim_name="data-web-0")
    other_node = dataclasses.replace(other_node, handle="2.b")
    known = {pool: pod_of_two(WWW) for pool in ("same", "other")}
    found = {
        key: dataclasses.replace(each, siblings=(dataclasses.replace(each.siblings[0], manifests=(at,)),))
        for (key, each), at in zip(known.items(), (same_node, other_node), strict=True)
    }

    assert (Action.ADOPT, "former-on-different-nodes") == (decide(found["same"]).action, code_of(found["other"]))


def adopted(phase: str = "Released", *, owners: tuple[str, ...] = ("old", "new")) -> Volume:
    """Return the former volume of the claim, adopted and not bound yet; `owners` are UIDs of claims."""
    recorded = history.write([Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in owners])
    found = former("a", "www-web-0", ref=("www-web-0", "new"), phase=phase)
    return dataclasses.replace(found, annotations={**found.annotations, names.HISTORY: recorded})


BLOCKED = former("b", "data-web-0", pool="3")


def test_an_adoption_that_the_sibling_cannot_join_is_reverted() -> None:
    """The controller was stopped between two adoptions, and the disk of the other volume became unavailable."""
    decision = decide(pod_of_two(adopted(), BLOCKED))

    assert (Action.REVERT_ADOPTION, "a", "former-sibling") == (
        decision.action,
        decision.volume,
        decision.reasons[0].code,
    )


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (adopted("Bound"), BLOCKED),  # the binder has bound it
        (adopted(owners=("new",)), BLOCKED),  # it was provisioned for this claim
        (
            adopted(owners=("older", "old")),
            BLOCKED,
        ),  # an admin assigned it with `mooring adopt`
        (adopted(), DATA),
    ],
)
def test_no_other_assignment_is_reverted(own: Volume, other: Volume) -> None:
    """The claim is bound to the volume that names it."""
    assert (Action.BIND, "a") == (decide(pod_of_two(own, other)).action, "a")


def immediate(*volumes: Volume, requested: str = "www-web-0", sibling: Claim | None = None) -> Facts:
    """Return the facts of one of two claims of a pod, in a class with volumeBindingMode: Immediate."""
    cls = storage_class(waits=False)
    return pod_of_two(*volumes, requested=claim(requested), sibling=sibling, storage_class=cls)


def test_without_a_scheduler_volumes_of_one_pod_are_provisioned_on_one_node() -> None:
    """The first claim by name gets its volume, and the others get theirs on the same node."""
    first = immediate(requested="a-web-0")
    second = immediate()
    known = immediate(volume("b", ref=("data-web-0", "sib"), affinity=on_pool("2")))

    assert (Action.PROVISION, frozenset({"n1", "n2"})) == (decide(first).action, decide(first).candidates)
    assert (Action.WAIT, "after-sibling") == (decide(second).action, code_of(second))
    assert (Action.PROVISION, frozenset({"n2"})) == (decide(known).action, decide(known).candidates)


def test_without_a_scheduler_a_claim_waits_for_a_missing_sibling() -> None:
    """The claim that is first by name gets its volume first, even if it does not exist yet."""
    cls = storage_class(waits=False)
    known = facts(claim=claim(), storage_class=cls, stateful_sets=SETS, missing=("data-web-0",))
    first = facts(claim=claim("data-web-0"), storage_class=cls, stateful_sets=SETS, missing=("www-web-0",))

    assert ("after-sibling", Action.PROVISION) == (code_of(known), decide(first).action)


@pytest.mark.limit("claims-before-pods")
def test_volumes_of_unrelated_claims_are_provisioned_on_any_node() -> None:
    """No StatefulSet creates the claims, and no pod mounts them yet."""
    decision = decide(facts(claim=claim(), storage_class=storage_class(waits=False), stateful_sets=(), nodes=TWO_NODES))

    assert (Action.PROVISION, None) == (decision.action, decision.candidates)


@pytest.mark.parametrize(
    ("sibling", "code"),
    [(former("b", "data-web-0", pool="3"), "sibling-waits"), (volume("b", ref=("data-web-0", "sib"), affinity=on_pool("3")), "sibling-unavailable")],
)  # fmt: skip
def test_without_a_scheduler_nothing_is_provisioned_while_a_siblings_disk_is_unavailable(
    sibling: Volume, code: str
) -> None:
    """On whichever node it was provisioned, the pod might never start."""
    assert (Action.WAIT, code) == (decide(immediate(sibling)).action, code_of(immediate(sibling)))


def test_a_claim_does_not_wait_for_a_sibling_of_a_class_that_waits_for_the_scheduler() -> None:
    """The sibling waits for the pod, and the pod waits for this claim."""
    known = immediate()
    waiting = dataclasses.replace(known.siblings[0], storage_class=storage_class(waits=True))

    assert Action.PROVISION is decide(dataclasses.replace(known, siblings=(waiting,))).action


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
def test_either_all_former_volumes_of_a_pod_are_adopted_or_none(
    first: dict[str, Any], second: dict[str, Any], expands: bool
) -> None:
    """One claim adopts its former volume exactly when the other does."""
    volumes = former("a", "www-web-0", **first), former("b", "data-web-0", **second)
    known = pod_of_two(*volumes, storage_class=storage_class(expands=expands))
    one, other = decide(known), decide(of_the_sibling(known))

    assert {one.action, other.action} <= {Action.ADOPT, Action.EXPAND, Action.WAIT}
    assert (one.action is Action.ADOPT) == (other.action is Action.ADOPT)


@given(st.lists(FORMERS, min_size=2, max_size=4), st.booleans())
def test_no_two_claims_wait_for_each_other(many: list[dict[str, Any]], expands: bool) -> None:
    """Of a pod whose claims all wait, at least one waits for another reason than its siblings."""
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
