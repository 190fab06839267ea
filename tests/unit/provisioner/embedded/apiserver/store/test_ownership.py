"""Sets of fields, and what is decided by them."""

from typing import Any

import pytest

from provisioner.embedded.apiserver.store import schema
from provisioner.embedded.apiserver.store.ownership import comparing, fieldsets, managers, merging, recording, topology
from provisioner.embedded.apiserver.store.ownership.managers import UPDATE, Entry, Manager
from provisioner.embedded.apiserver.store.ownership.recording import Writer
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json

ROOT = topology.root(kinds.POD)
NOW = "2026-01-02T03:04:05Z"


def pod(*names: str, **labels: str) -> Json:
    """A pod with these containers."""
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": "i"} for name in names]}}


def test_a_set_of_fields_is_written_as_kubernetes_writes_it() -> None:
    """Steps by name, by the keys of an entry and by value; an owned parent has a dot."""
    obj = pod("c", a="1") | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    obj["metadata"]["finalizers"] = ["x/y"]
    assert fieldsets.encode(fieldsets.fields_of(ROOT, obj)) == {
        "f:metadata": {"f:finalizers": {'v:"x/y"': {}}, "f:labels": {"f:a": {}}},
        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}}},
        "f:status": {"f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:type": {}}}},
    }


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"f:a": {}},
        {"f:a": {".": {}, "f:b": {}}},
        {"f:a": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:name": {}}}},
        {"f:a": {'v:"x"': {}, "v:1": {}}},
    ],
)
def test_what_is_read_is_written_again(tree: Json) -> None:
    """FieldsV1 and back."""
    assert fieldsets.encode(fieldsets.decode(tree)) == tree


def test_keys_in_another_order_are_the_same_entry() -> None:
    """Another writer may have sorted the keys of an entry differently."""
    one = fieldsets.decode({"f:p": {'k:{"protocol":"TCP","containerPort":80}': {}}})
    assert one == fieldsets.decode({"f:p": {'k:{"containerPort":80,"protocol":"TCP"}': {}}})


@pytest.mark.parametrize("broken", [None, [], "x", {"nonsense": {}}, {"f:a": None}, {"k:{": {}}])
def test_what_cannot_be_read_is_no_error(broken: Any) -> None:
    """Stored or sent by somebody else."""
    fieldsets.encode(fieldsets.decode(broken))


def test_fields_are_named_for_people() -> None:
    """As conflicts name them."""
    path = ("f:spec", "f:containers", 'k:{"name":"c"}', "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name")
    assert fieldsets.format_path(path) == '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].name'
    assert fieldsets.format_path(("f:metadata", "f:finalizers", 'v:"a/b"')) == '.metadata.finalizers[="a/b"]'


@pytest.mark.parametrize(
    ("under", "over", "expected"),
    [
        ("abc", "c", "abc"),
        ("abc", "ca", "cab"),
        ("ab", "xa", "xab"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_entries_are_merged_in_order(under: str, over: str, expected: str) -> None:
    """Nothing is lost, nothing is twice, and the upper list's order holds among its own."""
    merged = merging.merge(ROOT, pod(*under), pod(*over))
    found = [each["name"] for each in merged["spec"]["containers"]]
    assert sorted(found) == sorted(expected)
    assert [name for name in found if name in over] == list(over)


def test_a_difference_tells_what_came_went_and_changed() -> None:
    """A new entry and all that is in it have come; a changed value has not."""
    old, new = pod("a", x="1", y="1"), pod("a", "b", x="2")
    found = comparing.compare(ROOT, old, new)
    assert found.modified == {("f:metadata", "f:labels", "f:x")}
    assert found.removed == {("f:metadata", "f:labels", "f:y")}
    entry = ("f:spec", "f:containers", 'k:{"name":"b"}')
    assert found.added == {entry, (*entry, "f:name"), (*entry, "f:image")}


def test_taking_fields_out_leaves_no_empty_shells() -> None:
    """Labels without a label go; the rest stays as it was, and the object given is not changed."""
    obj = pod("a", x="1")
    left = merging.without(ROOT, obj, frozenset({("f:metadata", "f:labels", "f:x")}))
    assert left == {"spec": obj["spec"]}
    assert obj == pod("a", x="1")


@pytest.mark.bound("updaters")
def test_the_oldest_updaters_become_one() -> None:
    """More than ten are not told apart."""
    many = {
        Manager(UPDATE, f"m{number:02}", "v1"): Entry(
            frozenset({(f"f:{number}",)}), f"2026-01-01T00:00:{number:02}Z", "v1"
        )
        for number in range(13)
    }
    capped = managers.capped(many)
    assert len(capped) == 10
    assert capped[Manager(UPDATE, managers.ANCIENT, "v1")].fields == {(f"f:{number}",) for number in range(4)}
    assert frozenset.union(*(each.fields for each in capped.values())) == {(f"f:{number}",) for number in range(13)}


def test_a_write_that_changes_nothing_keeps_the_time() -> None:
    """Or every repeated write would make a new version."""
    made = pod("a")
    made["metadata"]["managedFields"] = recording.updated(kinds.POD, {}, made, Writer("one"), part="main", now="then")
    again = recording.updated(kinds.POD, made, made, Writer("two"), part="main", now=NOW)
    assert again == made["metadata"]["managedFields"]
    assert {each["time"] for each in again} == {"then"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_an_object_of_every_kind_can_be_walked(kind: kinds.Kind) -> None:
    """Whatever field is set: it is found, compared and taken out."""
    root = topology.root(kind)
    obj = {"metadata": {"labels": {"a": "b"}}, "unknown": 1}
    paths = fieldsets.fields_of(root, obj)
    assert ("f:metadata", "f:labels", "f:a") in paths
    assert comparing.compare(root, {}, obj).added >= paths
    assert merging.without(root, obj, frozenset({("f:metadata",), ("f:unknown",)})) == {}


def test_every_rule_is_about_a_field_that_there_is() -> None:
    """A misspelt model or field would silently make a list atomic."""
    from kubernetes.client import models  # noqa: PLC0415 - half a second

    for model, name in (*topology.KEYED, *topology.SETS, *topology.ATOMIC_MAPS, *topology.GRANULAR):
        assert name in schema.fields(getattr(models, f"V1{model}")), f"{model}.{name}"
    for model in topology.ATOMIC_MODELS:
        assert hasattr(models, f"V1{model}"), model
