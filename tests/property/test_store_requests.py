"""For any request of a client, the store keeps a valid object or refuses with a reason; it never fails otherwise."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.embedded.apiserver.http.tables import Include, table
from provisioner.embedded.apiserver.store import patches, schema
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.lifecycle import Part
from provisioner.embedded.apiserver.store.schema import Shape
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json, Kind
from tests.sweeps import times

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 3, 1.5, "", "x", "1Gi", "Retain", "2026-01-01T00:00:00Z", [], {}, [None], [{}]]
)

PARTS: list[Part] = ["main", "status"]
SIZE: Json = {"storage": "1Gi"}
POD: Json = {"containers": [{"name": "c", "image": "i"}]}
SPECS: dict[Kind, Json] = {
    kinds.POD: {"spec": POD},
    kinds.SERVICE: {"spec": {"clusterIP": "None"}},
    kinds.CLAIM: {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": SIZE}}},
    kinds.VOLUME: {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": SIZE, "csi": {"driver": "d", "volumeHandle": "h"}}
    },
    kinds.STATEFUL_SET: {
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
        }
    },
    kinds.STORAGE_CLASS: {"provisioner": "p"},
    kinds.CSI_DRIVER: {"spec": {}},
    kinds.CSI_NODE: {"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}},
    kinds.CSI_STORAGE_CAPACITY: {"storageClassName": "s"},
    kinds.ATTRIBUTES_CLASS: {"driverName": "d", "parameters": {"a": "b"}},
    kinds.EVENT: {"involvedObject": {"namespace": "default", "name": "x"}},
}


VALID: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["x", "", "Retain", "ReadWriteOnce", "None", "default"]),
    "integer": st.integers(-1, 3),
    "boolean": st.booleans(),
    "quantity": st.sampled_from(["0", "1Gi", 5, "-1"]),
    "time": st.just("2026-01-01T00:00:00Z"),
    "int-or-string": st.sampled_from([1, "50%"]),
}


def values_of(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    """Return values that fit the shape, down to `depth`, with odd ones among them."""
    valid: st.SearchStrategy[Any] = VALID.get(shape.type_name, ODD)
    inner = shape.inner
    if shape.model is not None and depth:
        known = schema.fields(shape.model)
        some = st.lists(st.sampled_from(sorted(known.keys() - {"apiVersion", "kind"})), max_size=3, unique=True)
        valid = some.flatmap(lambda names: st.fixed_dictionaries({n: values_of(known[n], depth - 1) for n in names}))
    elif shape.type_name == "list" and inner is not None and depth:
        valid = st.lists(values_of(inner, depth - 1), max_size=2)
    elif shape.type_name == "map" and inner is not None and depth:
        valid = st.dictionaries(st.sampled_from(["a", "b.c/d", "storage"]), values_of(inner, depth - 1), max_size=2)
    return st.integers(0, 9).flatmap(lambda chance: valid if chance else ODD)


def changes(kind: Kind) -> st.SearchStrategy[Json]:
    """Return merge patches for a kind."""
    return values_of(schema.root(kind), 4).filter(lambda value: isinstance(value, dict))


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """One store for all examples: no example may damage it."""
    directory = Path(tempfile.mkdtemp(prefix="requests-"))
    store = Store(directory / "engine.db", keep_changes=64)
    yield store
    store.close()
    shutil.rmtree(directory)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
@settings(max_examples=times(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_requests_are_refused_or_stored_completely(store: Store, kind: Kind, data: st.DataObject) -> None:
    """A patch with odd fields is refused with a 4xx, or results in an object that can be printed and written again."""
    namespace = "default" if kind.namespaced else ""
    base: Json = {"metadata": {"name": "odd"}, **SPECS.get(kind, {})}
    patch = data.draw(changes(kind))
    part: Part = data.draw(st.sampled_from(PARTS))
    try:
        store.create(kind, namespace, base)
    except StatusError as caught:
        assert caught.reason == "AlreadyExists"
    try:
        written = store.change(kind, namespace, "odd", lambda old: patches.merge(old, patch), part=part)
    except StatusError as caught:
        assert 400 <= caught.code < 500, caught.message
        assert caught.message
        return
    assert table(kind, [written.object], "1", Include.OBJECT)["rows"]
    again = store.change(kind, namespace, "odd", dict, part=part)
    assert again.object == written.object


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_kind_can_be_created(store: Store, kind: Kind) -> None:
    """The smallest valid object of each kind is accepted under Strict."""
    namespace = "default" if kind.namespaced else ""
    base: Json = {"metadata": {"generateName": "small-"}, **SPECS.get(kind, {})}
    assert store.create(kind, namespace, base, validation="Strict").warnings == ()
