"""The index of volumes follows the cache, event by event."""

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.kube.cache import Caches
from provisioner.model.kinds import VOLUME
from provisioner.model.volume import Volume
from provisioner.observe.volume_index import volumes_in
from tests.oracle.strategies import Json, volumes
from tests.sweeps import times

NAMES = [f"v{number}" for number in range(4)]
EVENTS = st.lists(st.one_of(st.sampled_from(NAMES), *(volumes(name) for name in NAMES)), max_size=12)


@given(EVENTS, EVENTS)
@settings(max_examples=times(100), deadline=None)
def test_the_index_equals_the_cache_whenever_it_was_first_read(
    before: list[str | Json], after: list[str | Json]
) -> None:
    """An event that is only a name is a deleted volume; volumes from before the first read are in the index, too."""
    caches = Caches()
    for event in before:
        _take(caches, event)
    index = volumes_in(caches)
    for event in after:
        _take(caches, event)

    assert {each.name: each for each in index} == {name: Volume.of(each) for name, each in _known(caches).items()}
    assert volumes_in(caches) is index


def test_a_volume_that_became_invalid_is_not_matched() -> None:
    """Nor does it keep other volumes out of the index."""
    caches = Caches()
    index = volumes_in(caches)
    good: Json = {"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}}}
    caches[VOLUME].put(good)
    assert ["v"] == [each.name for each in index]
    caches[VOLUME].put({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "lots"}}})
    caches[VOLUME].put({**good, "metadata": {"name": "w"}})

    assert ["w"] == [each.name for each in index]


def _take(caches: Caches, event: str | Json) -> None:
    if isinstance(event, str):
        caches[VOLUME].remove(("", event))
    else:
        caches[VOLUME].put(event)


def _known(caches: Caches) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in caches[VOLUME].all()}
