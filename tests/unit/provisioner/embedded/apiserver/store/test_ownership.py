"""Sets of fields, and merging and comparing by them."""

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
    """Return a pod with these containers and labels."""
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": "i"} for name in names]}}


def test_a_set_of_fields_is_encoded_as_in_kubernetes() -> None:
    """Steps are encoded by name, by an entry's keys and by value; an owned parent has a dot."""
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
def test_decoded_fields_are_encoded_unchanged(tree: Json) -> None:
    """Decoding and encoding FieldsV1 returns the same value."""
    assert fieldsets.encode(fieldsets.decode(tree)) == tree


def test_keys_in_another_order_are_the_same_entry() -> None:
    """The order of an entry's keys does not matter: another server may sort them differently."""
    one = fieldsets.decode({"f:p": {'k:{"protocol":"TCP","containerPort":80}': {}}})
    assert one == fieldsets.decode({"f:p": {'k:{"containerPort":80,"protocol":"TCP"}': {}}})


@pytest.mark.parametrize("broken", [None, [], "x", {"nonsense": {}}, {"f:a": None}, {"k:{": {}}])
def test_invalid_fields_are_not_an_error(broken: Any) -> None:
    """FieldsV1 that another program stored or sent may be invalid; decoding it raises nothing."""
    fieldsets.encode(fieldsets.decode(broken))


def test_fields_have_a_readable_form() -> None:
    """Fields are formatted as in messages about conflicts."""
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
    """A merged list has each entry once, and the entries of `over` keep their order."""
    merged = merging.merge(ROOT, pod(*under), pod(*over))
    found = [each["name"] for each in merged["spec"]["containers"]]
    assert sorted(found) == sorted(expected)
    assert [name for name in found if name in over] == list(over)


def test_a_difference_has_added_removed_and_modified_fields() -> None:
    """A new entry and all fields in it are added; a changed value is modified."""
    old, new = pod("a", x="1", y="1"), pod("a", "b", x="2")
    found = comparing.compare(ROOT, old, new)
    assert found.modified == {("f:metadata", "f:labels", "f:x")}
    assert found.removed == {("f:metadata", "f:labels", "f:y")}
    entry = ("f:spec", "f:containers", 'k:{"name":"b"}')
    assert found.added == {entry, (*entry, "f:name"), (*entry, "f:image")}


def test_removing_fields_leaves_no_empty_objects() -> None:
    """Labels that become empty are removed; the rest is unchanged, and so is the argument."""
    obj = pod("a", x="1")
    left = merging.without(ROOT, obj, frozenset({("f:metadata", "f:labels", "f:x")}))
    assert left == {"spec": obj["spec"]}
    assert obj == pod("a", x="1")


@pytest.mark.bound("updaters")
def test_the_oldest_updaters_are_merged() -> None:
    """Beyond ten updaters the oldest are merged into one."""
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
    """A write that changes nothing keeps the managers' times; otherwise every repeated write gave a new version."""
    created = pod("a")
    created["metadata"]["managedFields"] = recording.updated(
        kinds.POD, {}, created, Writer("one"), part="main", now="then"
    )
    again = recording.updated(kinds.POD, created, created, Writer("two"), part="main", now=NOW)
    assert again == created["metadata"]["managedFields"]
    assert {each["time"] for each in again} == {"then"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_fields_of_every_kind_can_be_traversed(kind: kinds.Kind) -> None:
    """In every kind a set field, known or not, can be listed, compared and removed."""
    root = topology.root(kind)
    obj = {"metadata": {"labels": {"a": "b"}}, "unknown": 1}
    paths = fieldsets.fields_of(root, obj)
    assert ("f:metadata", "f:labels", "f:a") in paths
    assert comparing.compare(root, {}, obj).added >= paths
    assert merging.without(root, obj, frozenset({("f:metadata",), ("f:unknown",)})) == {}


def test_every_merge_rule_names_an_existing_field() -> None:
    """Merge rules name existing models and fields; a misspelt one would silently make a list atomic."""
    from kubernetes.client import models  # noqa: PLC0415 - takes half a second

    for model, name in (*topology.KEYED, *topology.SETS, *topology.ATOMIC_MAPS, *topology.GRANULAR):
        assert name in schema.fields(getattr(models, f"V1{model}")), f"{model}.{name}"
    for model in topology.ATOMIC_MODELS:
        assert hasattr(models, f"V1{model}"), model
