"""Which volume a claim gets, for each check (the table of upstream's checks, columns A to F)."""

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
ZONE_A: dict[str, Any] = {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
}
N_A, N_B = node("a", zone="a"), node("b", zone="b")

UNBOUND: dict[str, Row] = {
    # the check that fails: (claim, volume, with a node, the code; "" where upstream does not check it)
    "capacity": (GI2, {}, "capacity", "capacity"),
    "volume mode": ({"mode": "Block"}, {}, "volume-mode", "volume-mode"),
    "attributes class": ({"vac": "gold"}, {}, "attributes-class", "attributes-class"),
    "deleting": ({}, {"deleting": True}, "deleting", "deleting"),
    "access modes": ({"modes": ("ReadWriteMany",)}, {}, "access-modes", "access-modes"),
    "class": ({"cls": "slow"}, {}, "class", "class"),
    "selector": ({"selector": {"matchLabels": {"a": "b"}}}, {}, "selector", "selector"),
    "phase": ({}, {"phase": "Released"}, "phase", "phase"),
    "node affinity": ({}, {"affinity": ZONE_A}, "", "affinity"),
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
    "node affinity": ({}, {"affinity": ZONE_A}, "", "affinity"),
}


@pytest.mark.parametrize("check", UNBOUND)
def test_an_unbound_volume_fails_the_checks_of_upstream(check: str) -> None:
    """The checks are those of columns A (the persistentvolume controller) and C (the scheduler)."""
    requested, actual, without_node, with_node = UNBOUND[check]

    _assert_outcome(claim(**requested), volume(**actual), without_node, with_node)


@pytest.mark.parametrize("check", RESERVED)
def test_a_reserved_volume_fails_the_checks_of_upstream(check: str) -> None:
    """Columns B and D: class, selector and phase of a reserved volume are not checked."""
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
    "selector is not checked": ({"selector": {"matchLabels": {"a": "b"}}}, {}, ""),
    "affinity is not checked": ({}, {"affinity": ZONE_A}, ""),
    "phase is not checked": ({}, {"phase": "Released"}, ""),
}


@pytest.mark.parametrize("check", PREBOUND)
def test_a_volume_that_the_claim_names_is_checked_by_column_e(check: str) -> None:
    """The order of the checks is that of checkVolumeSatisfyClaim."""
    requested, actual, code = PREBOUND[check]
    found = unsatisfied(claim(volume="pv", **requested), volume(**actual))

    assert code == (found.code if found else "")


def test_the_smallest_volume_that_fits_is_chosen_and_of_equals_the_first_by_name() -> None:
    """Upstream may choose any of two equal volumes; Mooring always chooses the same."""
    volumes = [volume("d", size="4Gi"), volume("c", size="2Gi"), volume("b", size="2Gi"), volume("a", size="1Gi")]

    assert _name(Index(volumes).match_claim(claim(size="1.5Gi"))) == "b"
    assert _name(Index(volumes[::-1]).match_claim(claim(size="1.5Gi"))) == "b"


def test_fewer_modes_are_preferred_to_a_smaller_size() -> None:
    """Upstream's buckets: a 1Ti volume with RWO only is preferred to a 1Gi one that also has ROX."""
    volumes = [volume("wide", modes=("ReadWriteOnce", "ReadOnlyMany")), volume("narrow", size="1Ti")]

    assert _name(Index(volumes).match_claim(claim())) == "narrow"
    assert _name(Index(volumes).match(claim(), node=N_A)) == "wide"


def test_in_an_immediate_class_fewer_modes_are_preferred_to_a_reservation() -> None:
    """This follows from the buckets; in a class that waits, unreserved volumes are not considered."""
    volumes = [volume("reserved", ref="www-web-0", modes=("ReadWriteOnce", "ReadOnlyMany")), volume("free")]

    assert _name(Index(volumes).match_claim(claim())) == "free"
    assert _name(Index(volumes).match_claim(claim(), delay=True)) == "reserved"


def test_no_volume_matches_when_the_node_cannot_reach_the_reserved_one() -> None:
    """No other volume is chosen instead of the reserved one."""
    volumes = [volume("reserved", ref="www-web-0", affinity=ZONE_A), volume("free")]

    assert Index(volumes).match(claim(), node=N_B) is None
    assert _name(Index(volumes).match(claim(), node=N_A)) == "reserved"


def test_a_class_that_waits_leaves_unbound_volumes_to_the_scheduler() -> None:
    """This is step 9 of upstream's rule."""
    found = rejection(claim(), volume(), delay_binding=True)

    assert Index([volume()]).match_claim(claim(), delay=True) is None
    assert found is not None
    assert found.code == "waits-for-consumer"


def test_a_selector_matches_no_volume_that_the_node_cannot_reach() -> None:
    """That holds where fewer volumes match the labels than the node reaches."""
    labelled = [volume("far", labels={"a": "b"}, affinity=ZONE_A), volume("near", labels={"a": "b"}, size="2Gi")]
    index = Index([*labelled, *(volume(f"v{number}") for number in range(9))])
    requested = claim(selector={"matchLabels": {"a": "b"}})

    assert _name(index.match(requested, node=N_B)) == "near"
    assert _name(index.match(requested, node=N_A)) == "far"


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
    "terms are alternatives": ({"nodeSelectorTerms": [{}, ZONE_A["nodeSelectorTerms"][0]]}, True),
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
    """Upstream does not evaluate matchFields on volumes."""
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
        affinity=st.sampled_from([None, ZONE_A]),
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
def test_the_index_agrees_with_the_plain_loop_that_upstream_describes(
    requested: Claim, facts: list[dict[str, Any]], where: Node | None, waits: bool
) -> None:
    """An independent implementation of the rule, which reads all volumes, chooses the same volume."""
    volumes = [volume(f"v{number}", **each) for number, each in enumerate(facts)]

    assert _name(plain.match(requested, volumes, where, waits=waits)) == _name(
        Index(volumes).match(requested, node=where, delay=waits)
    )
    if where is None:
        assert _name(plain.match_claim(requested, volumes, waits=waits)) == _name(
            Index(volumes).match_claim(requested, delay=waits)
        )


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}, {"matchExpressions": []}, {"matchLabels": None}])
def test_an_empty_selector_selects_every_volume_and_allows_a_new_one(selector: dict[str, Any]) -> None:
    """For upstream's binder it matches all volumes, including one that is provisioned for the claim."""
    requested = claim("lone", selector=selector, node="n1")
    immediate = storage_class(waits=False)
    known = Facts(claim=requested, storage_class=immediate, nodes=(node(),))

    assert decide(known).action is Action.PROVISION
    assert Index([volume("free", labels={"a": "b"})]).match_claim(requested) is not None
    selective = claim("lone", selector={"matchLabels": {"a": "b"}}, node="n1")
    assert decide(dataclasses.replace(known, claim=selective)).reasons[0].code == "selector-set"
