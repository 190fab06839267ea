"""Which volume a claim gets, check by check (the table of upstream's checks, columns A to F)."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import MODES, rejection, unsatisfied
from provisioner.model.claim import Claim
from provisioner.model.node import Node
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding import plain
from tests.unit.provisioner.binding.objects import claim, node, storage_class, volume

Row = tuple[dict[str, Any], dict[str, Any], str, str]

GI2 = {"size": "2Gi"}
HERE: dict[str, Any] = {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
}
N_A, N_B = node("a", zone="a"), node("b", zone="b")

UNBOUND: dict[str, Row] = {
    # the check that fails: (claim, volume, with a node, the code; "" where upstream does not look)
    "capacity": (GI2, {}, "capacity", "capacity"),
    "volume mode": ({"mode": "Block"}, {}, "volume-mode", "volume-mode"),
    "attributes class": ({"vac": "gold"}, {}, "attributes-class", "attributes-class"),
    "deleting": ({}, {"deleting": True}, "deleting", "deleting"),
    "access modes": ({"modes": ("ReadWriteMany",)}, {}, "access-modes", "access-modes"),
    "class": ({"cls": "slow"}, {}, "class", "class"),
    "selector": ({"selector": {"matchLabels": {"a": "b"}}}, {}, "selector", "selector"),
    "phase": ({}, {"phase": "Released"}, "phase", "phase"),
    "node affinity": ({}, {"affinity": HERE}, "", "affinity"),
    "claimRef of another": ({}, {"ref": "other"}, "other-claim", "other-claim"),
    "claimRef of an earlier claim": ({}, {"ref": ("www-web-0", "old")}, "former-claim", "former-claim"),
}

RESERVED: dict[str, Row] = {
    # the same for a volume that is reserved for the claim: (without a node, with one)
    "capacity": (GI2, {}, "capacity", "capacity"),
    "volume mode": ({"mode": "Block"}, {}, "volume-mode", "volume-mode"),
    "attributes class": ({"vac": "gold"}, {}, "attributes-class", "attributes-class"),
    "deleting": ({}, {"deleting": True}, "deleting", "deleting"),
    "access modes": ({"modes": ("ReadWriteMany",)}, {}, "access-modes", ""),
    "class": ({"cls": "slow"}, {}, "", ""),
    "selector": ({"selector": {"matchLabels": {"a": "b"}}}, {}, "", ""),
    "phase": ({}, {"phase": "Failed"}, "", ""),
    "node affinity": ({}, {"affinity": HERE}, "", "affinity"),
}


@pytest.mark.parametrize("check", UNBOUND)
def test_an_unbound_volume_fails_where_upstream_says(check: str) -> None:
    """Columns A (the persistentvolume controller) and C (the scheduler)."""
    requested, actual, without_node, with_node = UNBOUND[check]

    _assert_outcome(claim(**requested), volume(**actual), without_node, with_node)


@pytest.mark.parametrize("check", RESERVED)
def test_a_reserved_volume_fails_where_upstream_says(check: str) -> None:
    """Columns B and D: class, selector and phase of a reserved volume are not looked at."""
    requested, actual, without_node, with_node = RESERVED[check]

    _assert_outcome(claim(**requested), volume(**{"ref": "www-web-0", **actual}), without_node, with_node)


def _assert_outcome(requested: Claim, actual: Volume, without_node: str, with_node: str) -> None:
    assert (Index([actual]).match_claim(requested) is None) == bool(without_node)
    assert (Index([actual]).match(requested, node=N_B) is None) == bool(with_node)
    reasons = [rejection(requested, actual), rejection(requested, actual, node=N_B)]
    assert [without_node, with_node] == [each.code if each else "" for each in reasons]


PREBOUND: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "fits": ({}, {}, ""),
    "capacity": (GI2, {}, "capacity"),
    "class": ({"cls": "slow"}, {}, "class"),
    "volume mode": ({"mode": "Block"}, {}, "volume-mode"),
    "attributes class": ({"vac": "gold"}, {}, "attributes-class"),
    "access modes": ({"modes": ("ReadWriteMany",)}, {}, "access-modes"),
    "deleting": ({}, {"deleting": True}, "deleting"),
    "selector is not looked at": ({"selector": {"matchLabels": {"a": "b"}}}, {}, ""),
    "affinity is not looked at": ({}, {"affinity": HERE}, ""),
    "phase is not looked at": ({}, {"phase": "Released"}, ""),
}


@pytest.mark.parametrize("check", PREBOUND)
def test_a_volume_that_the_claim_names_is_checked_by_column_e(check: str) -> None:
    """checkVolumeSatisfyClaim, in its own order."""
    requested, actual, code = PREBOUND[check]
    found = unsatisfied(claim(volume="pv", **requested), volume(**actual))

    assert code == (found.code if found else "")


def test_the_smallest_volume_that_fits_wins_and_ties_go_by_name() -> None:
    """Upstream takes any of two equals; we always the same."""
    volumes = [volume("d", size="4Gi"), volume("c", size="2Gi"), volume("b", size="2Gi"), volume("a", size="1Gi")]

    assert _name(Index(volumes).match_claim(claim(size="1.5Gi"))) == "b"
    assert _name(Index(volumes[::-1]).match_claim(claim(size="1.5Gi"))) == "b"


def test_fewer_modes_beat_a_smaller_size() -> None:
    """Upstream's buckets: a 1Ti volume of just RWO is taken before a 1Gi one that can do ROX as well."""
    volumes = [volume("wide", modes=("ReadWriteOnce", "ReadOnlyMany")), volume("narrow", size="1Ti")]

    assert _name(Index(volumes).match_claim(claim())) == "narrow"
    assert _name(Index(volumes).match(claim(), node=N_A)) == "wide"


def test_a_reserved_volume_in_a_wider_bucket_loses_in_an_immediate_class() -> None:
    """A consequence of the buckets; in a class that waits, unbound volumes are out and it wins."""
    volumes = [volume("mine", ref="www-web-0", modes=("ReadWriteOnce", "ReadOnlyMany")), volume("free")]

    assert _name(Index(volumes).match_claim(claim())) == "free"
    assert _name(Index(volumes).match_claim(claim(), delay=True)) == "mine"


def test_a_reserved_volume_that_the_node_cannot_reach_ends_the_search() -> None:
    """No other volume is offered instead of the claim's own."""
    volumes = [volume("mine", ref="www-web-0", affinity=HERE), volume("free")]

    assert Index(volumes).match(claim(), node=N_B) is None
    assert _name(Index(volumes).match(claim(), node=N_A)) == "mine"


def test_a_class_that_waits_leaves_unbound_volumes_to_the_scheduler() -> None:
    """Step 9 of upstream's rule."""
    found = rejection(claim(), volume(), delay_binding=True)

    assert Index([volume()]).match_claim(claim(), delay=True) is None
    assert found is not None
    assert found.code == "waits-for-consumer"


def test_a_selector_takes_nothing_that_the_node_cannot_reach() -> None:
    """Also where the labels alone leave fewer volumes to look at than the node does."""
    labelled = [volume("far", labels={"a": "b"}, affinity=HERE), volume("near", labels={"a": "b"}, size="2Gi")]
    index = Index([*labelled, *(volume(f"v{number}") for number in range(9))])
    asked = claim(selector={"matchLabels": {"a": "b"}})

    assert _name(index.match(asked, node=N_B)) == "near"
    assert _name(index.match(asked, node=N_A)) == "far"


def test_excluded_volumes_are_skipped() -> None:
    """Two claims of one pod do not get the same volume."""
    assert Index([volume()]).match(claim(), node=N_A, excluded=frozenset({"pv"})) is None


AFFINITIES: dict[str, tuple[Any, bool]] = {
    "no terms match no node": ({"nodeSelectorTerms": []}, False),
    "an empty term matches none": ({"nodeSelectorTerms": [{}]}, False),
    "a term of fields alone matches every node": (
        {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["other"]}]}]},
        True,
    ),
    "terms are alternatives": ({"nodeSelectorTerms": [{}, HERE["nodeSelectorTerms"][0]]}, True),
    "NotIn holds for an absent label": (
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["a"]}]}]},
        True,
    ),
    "Gt compares whole numbers": (
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["9"]}]}]},
        True,
    ),
    "Gt needs numbers of 64 bits": (
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["-9" + "9" * 18]}]}]},
        False,
    ),
    "an expression that cannot be evaluated matches none": (
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Like", "values": ["a"]}]}]},
        False,
    ),
}


@pytest.mark.parametrize("rule", AFFINITIES)
def test_node_affinity_is_evaluated_as_upstream_does(rule: str) -> None:
    """With its trap: fields are not evaluated on volumes."""
    affinity, reaches = AFFINITIES[rule]

    assert volume(affinity=affinity).reaches(node("a", zone="a", size="10").labels) is reaches


def _name(found: Volume | None) -> str:
    return found.name if found else ""


SIZES = st.sampled_from(["1Gi", "2Gi", "1536Mi"])
MODE_SETS = st.sampled_from([("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany"), ("ReadWriteMany",), MODES])
VOLUMES = st.lists(
    st.builds(
        lambda **facts: facts,
        size=SIZES,
        modes=MODE_SETS,
        cls=st.sampled_from(["fast", "slow"]),
        ref=st.sampled_from([None, "www-web-0", ("www-web-0", "new"), ("www-web-0", "old"), "other"]),
        phase=st.sampled_from(["Available", "Released"]),
        deleting=st.booleans(),
        affinity=st.sampled_from([None, HERE]),
        labels=st.sampled_from([{}, {"a": "b"}]),
    ),
    max_size=6,
)
CLAIMS = st.builds(
    claim,
    size=SIZES,
    modes=st.sampled_from([("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany")]),
    cls=st.sampled_from(["fast", "slow"]),
    selector=st.sampled_from([None, {}, {"matchLabels": {"a": "b"}}]),
)


@given(CLAIMS, VOLUMES, st.sampled_from([None, N_A, N_B]), st.booleans())
def test_the_matcher_is_the_plain_loop_that_upstream_describes(
    requested: Claim, facts: list[dict[str, Any]], where: Node | None, waits: bool
) -> None:
    """An independent restatement of the rule, step by step in list order, gives the same volume."""
    volumes = [volume(f"v{number}", **each) for number, each in enumerate(facts)]

    assert _name(plain.match(requested, volumes, where, waits=waits)) == _name(
        Index(volumes).match(requested, node=where, delay=waits)
    )
    if where is None:
        assert _name(plain.match_claim(requested, volumes, waits=waits)) == _name(
            Index(volumes).match_claim(requested, delay=waits)
        )


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}, {"matchExpressions": []}, {"matchLabels": None}])
def test_an_empty_selector_selects_every_volume_also_a_new_one(selector: dict[str, Any]) -> None:
    """Upstream's binder takes it to match all; so a volume that is made for the claim matches, too."""
    requested = claim("lone", selector=selector, node="n1")
    immediate = storage_class(waits=False)
    known = Facts(claim=requested, storage_class=immediate, nodes=(node(),))

    assert decide(known).action is Action.PROVISION
    assert Index([volume("free", labels={"a": "b"})]).match_claim(requested) is not None
    picky = claim("lone", selector={"matchLabels": {"a": "b"}}, node="n1")
    assert decide(dataclasses.replace(known, claim=picky)).reasons[0].code == "selector-set"
