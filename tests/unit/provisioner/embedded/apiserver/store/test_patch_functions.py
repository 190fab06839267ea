"""Merge patch, JSON patch and strategic merge patch as functions."""

import copy
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.embedded.apiserver.store import patches, strategic
from provisioner.embedded.apiserver.store.errors import StatusError

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, {"a": {"b": None}}, {"a": {}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7396 give the results in the RFC."""
    assert patches.merge(target, patch) == result


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_can_be_repeated(target: Any, patch: Any) -> None:
    """A merge patch applied twice gives the same as once, and neither argument is changed."""
    before = copy.deepcopy((target, patch))
    once = patches.merge(target, patch)
    assert patches.merge(once, patch) == once
    assert (target, patch) == before


@given(OBJECTS, VALUES)
def test_a_json_patch_that_adds_and_removes_changes_nothing(target: Any, value: Any) -> None:
    """A value that is added under a new key and removed again leaves the object unchanged."""
    before = copy.deepcopy(target)
    operations = [
        {"op": "add", "path": "/n~1~0w", "value": value},
        {"op": "test", "path": "/n~1~0w", "value": value},
        {"op": "move", "from": "/n~1~0w", "path": "/other"},
        {"op": "remove", "path": "/other"},
    ]
    assert patches.apply_operations(target, operations) == before
    assert target == before


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/l/1", "value": 9}, [1, 9, 2]),
        ({"op": "add", "path": "/l/-", "value": 9}, [1, 2, 9]),
        ({"op": "remove", "path": "/l/0"}, [2]),
        ({"op": "replace", "path": "/l/0", "value": 9}, [9, 2]),
    ],
)
def test_a_json_patch_on_lists(operation: dict[str, Any], result: list[int]) -> None:
    """List positions count from zero; a dash is the end."""
    assert patches.apply_operations({"l": [1, 2]}, [operation]) == {"l": result}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "add", "path": "/l/3", "value": 9}, 422),
        ({"op": "add", "path": "/l/01", "value": 9}, 422),
        ({"op": "remove", "path": "/l/2"}, 422),
        ({"op": "remove", "path": "/l/-"}, 422),
        ({"op": "test", "path": "/l/0", "value": True}, 422),
        ({"op": "move", "from": "/l", "path": "/l/0"}, 422),
        ({"op": "remove", "path": ""}, 422),
        ({"op": "add", "path": "l", "value": 1}, 400),
        ({"op": "add", "path": "/l"}, 400),
        ({"op": "copy", "path": "/l"}, 400),
        ({"op": "dance", "path": "/l"}, 400),
        ({"path": 1}, 400),
        ("remove", 400),
    ],
)
def test_an_invalid_json_patch_is_refused(operation: Any, code: int) -> None:
    """A malformed operation is a bad request; one that does not fit the object is unprocessable."""
    with pytest.raises(StatusError) as refused:
        patches.apply_operations({"l": [1, 2]}, [operation])
    assert refused.value.code == code


def test_strategic_directives() -> None:
    """The directives for replacement, order and retained keys work."""
    target = {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "type": {"old": 1, "retained": 2}}
    ordered = strategic.merge(target, {"$setElementOrder/env": [{"name": "b"}, {"name": "a"}]})
    assert [each["name"] for each in ordered["env"]] == ["b", "a"]
    replaced = strategic.merge(target, {"env": [{"$patch": "replace"}, {"name": "c"}]})
    assert replaced["env"] == [{"name": "c"}]
    retained = strategic.merge(target, {"type": {"$retainKeys": ["retained", "new"], "new": 3}})
    assert retained["type"] == {"retained": 2, "new": 3}
    assert strategic.merge(target, {"type": {"$patch": "replace", "x": 1}})["type"] == {"x": 1}


@given(OBJECTS, OBJECTS)
def test_without_keyed_lists_a_strategic_patch_is_a_merge_patch(target: Any, patch: Any) -> None:
    """Without keyed lists a strategic patch has the result of a merge patch."""
    assert strategic.merge(target, patch) == patches.merge(target, patch)


DIRECTIVES = st.sampled_from(
    [
        "$patch",
        "$retainKeys",
        "$deleteFromPrimitiveList/finalizers",
        "$setElementOrder/volumes",
        "finalizers",
        "volumes",
    ]
)
ANYTHING = st.recursive(
    SCALARS | st.sampled_from(["delete", "replace"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(DIRECTIVES | st.just("name"), inner, max_size=3),
    max_leaves=12,
)


@example({"volumes": [None]}, {"volumes": [{}]})
@example({"volumes": ["x"]}, {"volumes": [{"name": "x"}]})
@given(st.dictionaries(DIRECTIVES, ANYTHING, max_size=4), st.dictionaries(DIRECTIVES, ANYTHING, max_size=4))
def test_a_strategic_patch_of_any_content_is_applied_or_refused(target: Any, patch: Any) -> None:
    """Values of unexpected types in a strategic patch never cause an internal error."""
    before = copy.deepcopy((target, patch))
    try:
        strategic.merge(target, patch)
    except StatusError as error:
        assert error.code == 400
    assert (target, patch) == before


def test_long_sets_are_merged_in_linear_time() -> None:
    """Merging long lists of finalizers takes linear time: twenty thousand took minutes, and all writes waited."""
    first, second = ([f"{part}.b/c{number}" for number in range(60_000)] for part in "ax")
    started = time.monotonic()
    merged = strategic.merge({"finalizers": first}, {"finalizers": [*second, first[5]]})
    assert merged == {"finalizers": [*first, *second]}
    assert strategic.merge(merged, {"$deleteFromPrimitiveList/finalizers": first}) == {"finalizers": second}
    assert time.monotonic() - started < 10  # seconds; half a second on an ordinary machine
