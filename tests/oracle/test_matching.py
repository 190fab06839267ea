"""
Our matcher and Kubernetes' own agree, on the same inputs, about every claim.

Both are given the volumes in the order of their names, for where upstream takes the first of equals, ours goes by name.
What that leaves aside is named in `test_in_any_order_upstream_takes_a_volume_that_is_as_good`.
"""

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import unsatisfied
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.node import Node
from provisioner.model.quantity import InvalidQuantityError, Quantity
from provisioner.model.selector import InvalidSelectorError, LabelSelector
from provisioner.model.volume import Volume
from tests.oracle.often import often
from tests.oracle.upstream import Upstream
from tests.oracle.worlds import AFFINITY, LABELS, MORE_SIZES, SELECTOR, SIZES, Json, claims, volumes, worlds

pytestmark = [pytest.mark.needs("go"), pytest.mark.timeout(3600)]


def _name(found: Volume | None) -> str:
    return found.name if found else ""


def _read(claim: Json) -> Claim | None:
    try:
        return Claim.of(claim)
    except InvalidObjectError:
        return None


@given(worlds(), st.sets(st.sampled_from(["v0", "v1", "v2"])))
@often
def test_every_claim_gets_the_volume_that_upstream_gives_it(
    upstream: Upstream, world: tuple[Json, list[Json], Json], excluded: set[str]
) -> None:
    """On a node or without one, waiting for it or not, with volumes excluded, and by buckets of access modes."""
    claim, many, node = world
    ours, had, place = _read(claim), Index(map(Volume.of, many)), Node.of(node)
    for delay in (False, True):
        for at in (None, node):
            facts: dict[str, Any] = {"Node": at, "DelayBinding": delay, "Excluded": sorted(excluded)}
            theirs = upstream.ask("match", Claim=claim, Volumes=many, **facts)
            if ours is None:
                assert "error" in theirs
                continue
            found = had.match(ours, node=place if at else None, excluded=frozenset(excluded), delay=delay)
            assert theirs == ({"volume": found.name} if found else {})
        theirs = upstream.ask("buckets", Claim=claim, Volumes=many, DelayBinding=delay)
        if ours is not None:
            assert theirs.get("volume", "") == _name(had.match_claim(ours, delay=delay))


@given(worlds(), st.randoms(use_true_random=False))
@often
def test_in_any_order_upstream_takes_a_volume_that_is_as_good(
    upstream: Upstream, world: tuple[Json, list[Json], Json], chance: random.Random
) -> None:
    """Of the ties: equal capacity among free volumes, or several that were reserved for the claim. Nothing else."""
    claim, many, _ = world
    ours = _read(claim)
    if ours is None:
        return
    shuffled = chance.sample(many, len(many))
    theirs = upstream.ask("match", Claim=claim, Volumes=shuffled, Node=None, DelayBinding=False).get("volume", "")
    found = Index(map(Volume.of, many)).match(ours)
    by_name = {each["metadata"]["name"]: Volume.of(each) for each in many}

    assert bool(theirs) == bool(found)
    if found is not None:
        other = by_name[theirs]
        assert other.belongs_to(ours) == found.belongs_to(ours)
        assert other.belongs_to(ours) or other.capacity == found.capacity


@given(volumes("v", sizes=SIZES), claims())
@often
def test_a_claim_that_names_its_volume_is_refused_for_the_same_reason(
    upstream: Upstream, volume: Json, claim: Json
) -> None:
    """
    The first failing check is the same one.

    Sizes stay below 2^63 here: upstream compares these two as numbers of 64 bits, which larger ones overflow. Ours are
    compared as what they are.
    """
    ours = _read(claim)
    if ours is None:
        return
    theirs = upstream.ask("satisfies", Claim=claim, Volumes=[volume]).get("error", "")
    refused = unsatisfied(ours, Volume.of(volume))

    assert (refused.code if refused else "") == theirs
    belongs = upstream.ask("belongs", Claim=claim, Volumes=[volume]).get("yes", False)
    assert Volume.of(volume).belongs_to(ours) == belongs


@given(AFFINITY, LABELS)
@example(
    {
        "required": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}]
        }
    },
    {},
)
@example({"required": {"nodeSelectorTerms": [{}]}}, {"a": "b"})
@often
def test_a_node_reaches_a_volume_when_upstream_says_so(
    upstream: Upstream, affinity: Json, labels: dict[str, str]
) -> None:
    """Terms of fields alone match every node; what cannot be evaluated matches none."""
    volume = {"metadata": {"name": "v"}, "spec": {"nodeAffinity": affinity}}
    theirs = upstream.ask("affinity", Volumes=[volume], Labels=labels).get("yes", False)

    assert Volume.of(volume).reaches(labels) == theirs


@given(SELECTOR, LABELS)
@often
def test_a_selector_selects_what_it_selects_upstream(
    upstream: Upstream, selector: Json, labels: dict[str, str]
) -> None:
    """And is refused where it is refused there."""
    theirs = upstream.ask("selector", Selector=selector, Labels=labels)
    try:
        ours = LabelSelector.of(selector).matches(labels)
    except InvalidSelectorError:
        assert "error" in theirs
    else:
        assert "error" not in theirs
        assert ours == theirs.get("yes", False)


QUANTITIES = st.one_of(
    st.sampled_from(
        [*MORE_SIZES, "", ".", "-", "1 Gi", "1gi", "1KI", "0x1", "1e", "1E", "E-10", "e-9", "1Ee3", "--1", "٣", "1_000"]
    ),
    st.from_regex(
        r"[+-]?[0-9]{0,21}(\.[0-9]{0,12})?(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?[0-9]{1,2})?", fullmatch=True
    ),
)


@given(QUANTITIES, QUANTITIES)
@often
def test_quantities_are_read_compared_and_written_as_upstream_does(upstream: Upstream, one: str, other: str) -> None:
    """Exactly: also beyond 64 bits, finer than a billionth, and what neither of us takes."""
    theirs = upstream.ask("quantity", A=one, B=other) if other else upstream.ask("quantity", A=one)
    try:
        first = Quantity.parse(one)
    except InvalidQuantityError:
        assert theirs.get("error") == "first"
        return
    if not other:
        if 0 <= first.ceil_bytes < 2**63:  # what is larger overflows upstream, and its -1n counts as 1
            assert theirs.get("number", 0) == first.ceil_bytes
        return
    try:
        second = Quantity.parse(other)
    except InvalidQuantityError:
        assert theirs.get("error") == "second"
        return
    assert "error" not in theirs
    assert theirs.get("number", 0) == (first > second) - (first < second)
