"""For a node only the volumes that it reaches are read."""

from typing import Any

import pytest

from provisioner.binding.matching.bucket import Bucket
from provisioner.binding.matching.label_index import Entry
from provisioner.model.node import Node
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding.objects import volume

N1, N2, M1 = ({"key": key, "operator": "In", "values": [value]} for key, value in (("n", "1"), ("n", "2"), ("m", "1")))
ONE_LABEL: dict[str, list[Any]] = {
    "n is 1": [{"matchExpressions": [N1]}],
    "n is 2": [{"matchExpressions": [N2]}],
    "m is 1": [{"matchExpressions": [M1]}],
    "two labels": [{"matchExpressions": [N1, M1]}],
    "n is 1, and no t": [{"matchExpressions": [{"key": "t", "operator": "DoesNotExist"}, N1]}],
}
OTHERS: dict[str, list[Any]] = {
    "one of two values": [{"matchExpressions": [{"key": "n", "operator": "In", "values": ["1", "2"]}]}],
    "one of two terms": [{"matchExpressions": [N1]}, {"matchExpressions": [M1]}],
    "n is not 1": [{"matchExpressions": [{"key": "n", "operator": "NotIn", "values": ["1"]}]}],
    "n exists": [{"matchExpressions": [{"key": "n", "operator": "Exists"}]}],
    "cannot be evaluated": [{"matchExpressions": [{"key": "n", "operator": "In", "values": []}]}],
    "fields alone": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}],
    "no term": [],
}
AFFINITIES = {"anywhere": None, **ONE_LABEL, **OTHERS}
VOLUMES = [
    volume(f"{size}, {name}", affinity=None if terms is None else {"nodeSelectorTerms": terms})
    for name, terms in AFFINITIES.items()
    for size in (2, 1, 3)
]
NODES = [
    {},
    {"n": "1"},
    {"n": "2"},
    {"n": "3"},
    {"m": "1"},
    {"n": "1", "m": "1"},
    {"n": "2", "m": "1"},
    {"n": "1", "t": "x"},
]


def _entry(each: Volume) -> Entry:
    return int(each.name[0]), each.name, each


def _bucket() -> Bucket:
    found = Bucket(frozenset())
    for each in VOLUMES:
        found.put(_entry(each), each.node_affinity)
    return found


@pytest.mark.parametrize("labels", NODES, ids=str)
def test_a_node_gets_the_volumes_that_it_reaches_once_each(labels: dict[str, str]) -> None:
    """That holds for every kind of affinity; each list is sorted by capacity and name."""
    lists = list(_bucket().reached_by(Node.of({"metadata": {"name": "x", "labels": labels}})))

    assert sorted(entry for each in lists for entry in each) == sorted(
        _entry(each) for each in VOLUMES if each.reaches(labels)
    )
    assert all(each == sorted(each) for each in lists)


def test_an_affinity_of_one_label_is_found_by_that_label() -> None:
    """Of thousands of pools with one label each, only affinities without a single label are evaluated for a node."""
    bucket = _bucket()

    assert bucket.by_label.keys() == {("n", "1"), ("n", "2"), ("m", "1")}
    assert len(bucket.others) == len(OTHERS)


def test_a_dropped_volume_is_in_no_list() -> None:
    """An affinity is removed with its last volume."""
    bucket = _bucket()
    for each in VOLUMES[::3]:
        bucket.drop(_entry(each), each.node_affinity)
    left = [_entry(each) for number, each in enumerate(VOLUMES) if number % 3]

    assert bucket.all == sorted(left)
    assert sorted(entry for each in bucket.by_affinity.values() for entry in each) == sorted(left)
    for _, _, each in left:
        bucket.drop(_entry(each), each.node_affinity)
    assert bucket == Bucket(frozenset())
