"""
Mooring's matcher and upstream's choose the same volume for every claim.

Both get the volumes in the order of their names: of equal volumes upstream chooses the first, and Mooring the first by
name. Other orders are tested in `test_in_any_order_upstream_chooses_an_equivalent_volume`.
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
from tests.oracle.strategies import AFFINITY, LABELS, MORE_SIZES, SELECTOR, SIZES, Json, claims, scenarios, volumes
from tests.oracle.upstream import Upstream

pytestmark = [pytest.mark.needs("go"), pytest.mark.timeout(3600)]


def _name(found: Volume | None) -> str:
    return found.name if found else ""


def _read(claim: Json) -> Claim | None:
    try:
        return Claim.of(claim)
    except InvalidObjectError:
        return None


@given(scenarios(), st.sets(st.sampled_from(["v0", "v1", "v2"])))
@often
def test_every_claim_gets_the_volume_that_upstream_chooses(
    upstream: Upstream, scenario: tuple[Json, list[Json], Json], excluded: set[str]
) -> None:
    """With and without a node, in both binding modes, with excluded volumes, and by buckets of access modes."""
    claim, many, node = scenario
    read, index, selected = _read(claim), Index(map(Volume.of, many)), Node.of(node)
    for delay in (False, True):
        for at in (None, node):
            facts: dict[str, Any] = {"Node": at, "DelayBinding": delay, "Excluded": sorted(excluded)}
            upstreams = upstream.ask("match", Claim=claim, Volumes=many, **facts)
            if read is None:
                assert "error" in upstreams
                continue
            found = index.match(read, node=selected if at else None, excluded=frozenset(excluded), delay=delay)
            assert upstreams == ({"volume": found.name} if found else {})
        upstreams = upstream.ask("buckets", Claim=claim, Volumes=many, DelayBinding=delay)
        if read is not None:
            assert upstreams.get("volume", "") == _name(index.match_claim(read, delay=delay))


@given(scenarios(), st.randoms(use_true_random=False))
@often
def test_in_any_order_upstream_chooses_an_equivalent_volume(
    upstream: Upstream, scenario: tuple[Json, list[Json], Json], chance: random.Random
) -> None:
    """Equivalent are only available volumes of equal capacity, and several that are reserved for the claim."""
    claim, many, _ = scenario
    read = _read(claim)
    if read is None:
        return
    shuffled = chance.sample(many, len(many))
    upstreams = upstream.ask("match", Claim=claim, Volumes=shuffled, Node=None, DelayBinding=False).get("volume", "")
    found = Index(map(Volume.of, many)).match(read)
    by_name = {each["metadata"]["name"]: Volume.of(each) for each in many}

    assert bool(upstreams) == bool(found)
    if found is not None:
        other = by_name[upstreams]
        assert other.belongs_to(read) == found.belongs_to(read)
        assert other.belongs_to(read) or other.capacity == found.capacity


@given(volumes("v", sizes=SIZES), claims())
@often
def test_a_claim_that_names_its_volume_is_refused_for_the_same_reason(
    upstream: Upstream, volume: Json, claim: Json
) -> None:
    """
    The first failing check is the same.

    Sizes are below 2^63, since upstream compares these two as 64-bit integers, which overflow; Mooring does not.
    """
    read = _read(claim)
    if read is None:
        return
    upstreams = upstream.ask("satisfies", Claim=claim, Volumes=[volume]).get("error", "")
    reason = unsatisfied(read, Volume.of(volume))

    assert (reason.code if reason else "") == upstreams
    belongs = upstream.ask("belongs", Claim=claim, Volumes=[volume]).get("yes", False)
    assert Volume.of(volume).belongs_to(read) == belongs


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
def test_a_node_reaches_the_same_volumes_as_upstream(
    upstream: Upstream, affinity: Json, labels: dict[str, str]
) -> None:
    """Terms with matchFields alone match every node; terms that cannot be evaluated match none."""
    volume = {"metadata": {"name": "v"}, "spec": {"nodeAffinity": affinity}}
    upstreams = upstream.ask("affinity", Volumes=[volume], Labels=labels).get("yes", False)

    assert Volume.of(volume).reaches(labels) == upstreams


@given(SELECTOR, LABELS)
@often
def test_a_selector_selects_the_same_labels_as_upstream(
    upstream: Upstream, selector: Json, labels: dict[str, str]
) -> None:
    """It is refused exactly when upstream refuses it."""
    upstreams = upstream.ask("selector", Selector=selector, Labels=labels)
    try:
        selected = LabelSelector.of(selector).matches(labels)
    except InvalidSelectorError:
        assert "error" in upstreams
    else:
        assert "error" not in upstreams
        assert selected == upstreams.get("yes", False)


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
def test_quantities_are_read_and_compared_as_by_upstream(upstream: Upstream, one: str, other: str) -> None:
    """That includes values beyond 64 bits, fractions below a billionth, and texts that both refuse."""
    upstreams = upstream.ask("quantity", A=one, B=other) if other else upstream.ask("quantity", A=one)
    try:
        first = Quantity.parse(one)
    except InvalidQuantityError:
        assert upstreams.get("error") == "first"
        return
    if not other:
        if 0 <= first.ceil_bytes < 2**63:  # larger values overflow upstream, and its -1n counts as 1
            assert upstreams.get("number", 0) == first.ceil_bytes
        return
    try:
        second = Quantity.parse(other)
    except InvalidQuantityError:
        assert upstreams.get("error") == "second"
        return
    assert "error" not in upstreams
    assert upstreams.get("number", 0) == (first > second) - (first < second)
