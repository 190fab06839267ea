"""The index gives the answers of the plain loop, whatever was put, changed and dropped before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.binding.index import Index
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.node import Node
from provisioner.model.volume import Volume
from tests.oracle.worlds import LABELS, Json, claims, volumes
from tests.unit.binding import plain

NAMES = [f"v{number}" for number in range(6)]
EVENTS = st.lists(st.one_of(st.sampled_from(NAMES), *(volumes(name) for name in NAMES)), max_size=12)


@given(EVENTS, claims(), LABELS, st.sets(st.sampled_from(NAMES), max_size=3))
@settings(max_examples=400, deadline=None)
def test_an_index_answers_as_the_plain_loop_does(
    events: list[str | Json], asked: Json, labels: dict[str, str], excluded: set[str]
) -> None:
    """Reserved and free volumes, with a node and without, waiting or not; a name alone is a volume that went away."""
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
        claim = Claim.of(asked)
    except InvalidObject:
        return
    node, without = Node.of({"metadata": {"name": "n", "labels": labels}}), frozenset(excluded)

    assert len(index) == len(known)
    for delay in (False, True):
        assert index.match_claim(claim, delay=delay) == plain.match_claim(claim, known.values(), waits=delay)
        for at in (None, node):
            found = plain.match(claim, known.values(), at, excluded=without, waits=delay)
            assert index.match(claim, node=at, excluded=without, delay=delay) == found


@given(EVENTS)
@settings(max_examples=100, deadline=None)
def test_an_index_that_was_emptied_keeps_nothing(events: list[str | Json]) -> None:
    """No list, no key: it does not grow with what has come and gone."""
    index = Index()
    for event in events:
        if not isinstance(event, str):
            index.put(Volume.of(event))
    for name in NAMES:
        index.drop(name)

    assert (len(index), index._shelves, index._named, index._handles) == (0, {}, {}, {})
