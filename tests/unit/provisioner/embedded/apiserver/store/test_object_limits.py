"""An object over a limit is refused before anything else is done with it, however a client makes it."""

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
    """By every way of writing; nothing is changed."""
    version = store.version
    with pytest.raises(StatusError) as caught:
        write(store, big)
    assert (caught.value.code, caught.value.reason) == (413, "RequestEntityTooLarge")
    assert store.version == version


def test_many_small_applications_do_not_add_up_to_a_large_object(store: Store) -> None:
    """Each of another manager, and each within the limits."""

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


def test_what_is_too_large_may_shrink() -> None:
    """Else nobody could mend it."""
    larger = {"metadata": {"annotations": {"a": "x" * (MAX_BYTES + 10)}}}
    large = {"metadata": {"annotations": {"a": "x" * MAX_BYTES}}}
    must_fit(large, larger)
    with pytest.raises(StatusError):
        must_fit(larger, large)
    many = {"a": [1] * (MAX_VALUES + 1)}
    must_fit(many, {"a": [1] * (MAX_VALUES + 2)})
    with pytest.raises(StatusError):
        must_fit(many, {"a": []})


def test_what_a_manager_owns_does_not_count(store: Store) -> None:
    """The server wrote it, and a status must not fail for it."""
    old = store.create(NAMESPACE, "", {"metadata": {"name": "n"}}).object
    managed = [{"manager": str(number), "fieldsV1": {"f:a": {}}} for number in range(MAX_VALUES)]
    must_fit({**old, "metadata": {**old["metadata"], "managedFields": managed}})
