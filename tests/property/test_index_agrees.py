"""The index returns the result of the plain loop, after any sequence of puts, changes and drops."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.binding.matching.index import Index
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.node import Node
from provisioner.model.volume import Volume
from tests.oracle.strategies import LABELS, Json, claims, volumes
from tests.sweeps import times
from tests.unit.provisioner.binding import objects, plain

NAMES = [f"v{number}" for number in range(6)]
EVENTS = st.lists(st.one_of(st.sampled_from(NAMES), *(volumes(name) for name in NAMES)), max_size=12)


@given(EVENTS, claims(), LABELS, st.sets(st.sampled_from(NAMES), max_size=3))
@settings(max_examples=times(400), deadline=None)
def test_an_index_returns_the_result_of_the_plain_loop(
    events: list[str | Json], claim_object: Json, labels: dict[str, str], excluded: set[str]
) -> None:
    """Reserved and free volumes, with and without a node, delayed or not; a name is the deletion of a volume."""
    index = Index()
    known: dict[str, Volume] = {}
    for event in events:
        if isinstance(event, str):
            known.pop(event, None)
            index.drop(event)
        else:
            volume = Volume.of(event)
            known[volume.name] = volume
            index.put(volume)
    try:
        claim = Claim.of(claim_object)
    except InvalidObjectError:
        return
    node, without = Node.of({"metadata": {"name": "n", "labels": labels}}), frozenset(excluded)

    assert len(index) == len(known)
    for delay in (False, True):
        assert index.match_claim(claim, delay=delay) == plain.match_claim(claim, known.values(), waits=delay)
        for at in (None, node):
            found = plain.match(claim, known.values(), at, excluded=without, waits=delay)
            assert index.match(claim, node=at, excluded=without, delay=delay) == found


@given(EVENTS)
@settings(max_examples=times(100), deadline=None)
def test_an_emptied_index_has_no_entries(events: list[str | Json]) -> None:
    """The index keeps no list and no key of volumes that were dropped."""
    index = Index()
    for event in events:
        if not isinstance(event, str):
            index.put(Volume.of(event))
    for name in NAMES:
        index.drop(name)

    assert (len(index), index._buckets, index._named, index._handles) == (0, {}, {}, {})


IN_ZONE_A, IN_ZONE_B = (
    {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]}
    for zone in ("a", "b")
)
LIKELY = st.lists(
    st.fixed_dictionaries(
        {
            "size": st.sampled_from(["1Gi", "2Gi", "3Gi"]),
            "modes": st.sampled_from([("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany"), ("ReadWriteMany",)]),
            "affinity": st.sampled_from([None, IN_ZONE_A, IN_ZONE_A, IN_ZONE_B]),
            "labels": st.dictionaries(st.sampled_from(["disk", "rack"]), st.sampled_from(["a", "b"])),
        },
        optional={"ref": st.sampled_from(["www-web-0", "other"])},
    ),
    min_size=4,
    max_size=12,
)
SELECTORS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"key": st.sampled_from(["disk", "rack"]), "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(["disk", "rack"]),
                "operator": st.sampled_from(["In", "In", "NotIn"]),
                "values": st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2),
            }
        ),
    ),
    max_size=2,
)  # fmt: skip


@given(
    LIKELY, st.one_of(st.none(), SELECTORS), st.sets(st.integers(0, 11), max_size=4), st.sampled_from(["1Gi", "2Gi"])
)
@settings(max_examples=times(400), deadline=None)
def test_among_many_matches_it_chooses_the_one_of_the_plain_loop(
    fields_of_volumes: list[dict[str, Any]], expressions: list[Json] | None, without: set[int], size: str
) -> None:
    """Most volumes here have the claim's class and size, so that selector, node and exclusions decide."""
    known = [objects.volume(f"v{number:02}", **facts) for number, facts in enumerate(fields_of_volumes)]
    selector = None if expressions is None else {"matchExpressions": expressions}
    claim, index = objects.claim(size=size, selector=selector), Index(known)
    excluded = frozenset(f"v{number:02}" for number in without)

    for waits in (False, True):
        assert index.match_claim(claim, delay=waits) == plain.match_claim(claim, known, waits=waits)
        for at in (None, objects.node(zone="a"), objects.node(zone="b")):
            found = plain.match(claim, known, at, excluded=excluded, waits=waits)
            assert index.match(claim, node=at, excluded=excluded, delay=waits) == found
