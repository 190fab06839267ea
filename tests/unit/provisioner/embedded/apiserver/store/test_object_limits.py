"""An object over a size limit is refused before it is processed, whatever the type of write."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.embedded.apiserver.store import patches
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.object_limits import MAX_BYTES, MAX_VALUES, must_fit
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import NAMESPACE, POD, STATEFUL_SET, Json


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with a pod `p`."""
    found = Store(tmp_path / "engine.db")
    found.create(POD, "default", _pod("p"))
    yield found
    found.close()


def _pod(name: str, *, containers: int = 1, image: str = "x") -> Json:
    spec = {"containers": [{"name": f"c{number}", "image": image} for number in range(containers)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


MANY, LONG = _pod("p", containers=MAX_VALUES // 3), _pod("p", image="x" * MAX_BYTES)
ADD = [{"op": "add", "path": "/spec/containers/0/args", "value": ["x"] * MAX_VALUES}]


@pytest.mark.limit("object-size")
@pytest.mark.parametrize(
    "write",
    [
        lambda store, big: store.create(POD, "default", {**big, "metadata": {"name": "other"}}),
        lambda store, big: store.change(POD, "default", "p", lambda _: big),
        lambda store, big: store.apply(POD, "default", "other", big, writer=Writer("m")),
        lambda store, big: store.change(POD, "default", "p", functools.partial(patches.merge, patch=big)),
        lambda store, _: store.change(POD, "default", "p", functools.partial(patches.apply_operations, operations=ADD)),
    ],
)
@pytest.mark.parametrize("big", [MANY, LONG], ids=["many values", "many bytes"])
def test_a_large_object_is_refused(store: Store, write: Callable[[Store, Json], Any], big: Json) -> None:
    """A large object is refused by every type of write, and nothing is changed."""
    version = store.version
    with pytest.raises(StatusError) as caught:
        write(store, big)
    assert (caught.value.code, caught.value.reason) == (413, "RequestEntityTooLarge")
    assert store.version == version


def test_many_small_applies_cannot_create_a_large_object(store: Store) -> None:
    """Applies of several managers, each within the limits, are refused when their result exceeds a limit."""

    def apply(number: int) -> None:
        container = {"name": f"d{number}", "image": "x", "args": ["x" * (MAX_BYTES // 3)]}
        labels = {"a": "b"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}}
        body |= {"spec": {"selector": {"matchLabels": labels}, "serviceName": "s", "template": template}}
        store.apply(STATEFUL_SET, "default", "s", body, writer=Writer(f"m{number}"))

    apply(0)
    apply(1)
    with pytest.raises(StatusError) as caught:
        apply(2)
    assert caught.value.code == 413


def test_an_object_over_a_limit_may_shrink() -> None:
    """An object over a limit may become smaller; otherwise no client could repair it."""
    larger = {"metadata": {"annotations": {"a": "x" * (MAX_BYTES + 10)}}}
    large = {"metadata": {"annotations": {"a": "x" * MAX_BYTES}}}
    must_fit(large, larger)
    with pytest.raises(StatusError):
        must_fit(larger, large)
    many = {"a": [1] * (MAX_VALUES + 1)}
    must_fit(many, {"a": [1] * (MAX_VALUES + 2)})
    with pytest.raises(StatusError):
        must_fit(many, {"a": []})


def test_managed_fields_do_not_count(store: Store) -> None:
    """ManagedFields do not count: the server wrote them, and an update of a status must not fail for them."""
    old = store.create(NAMESPACE, "", {"metadata": {"name": "n"}}).object
    managed = [{"manager": str(number), "fieldsV1": {"f:a": {}}} for number in range(MAX_VALUES)]
    must_fit({**old, "metadata": {**old["metadata"], "managedFields": managed}})
