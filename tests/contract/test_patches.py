"""The three types of patch."""

from typing import Any

import pytest

from tests.contract.conftest import JSON_PATCH, STRATEGIC, Api, claim, stateful_set


async def test_a_merge_patch_removes_with_null(api: Api) -> None:
    """In a merge patch null removes a field, and maps are merged."""
    await api.create(api.claims, claim(labels={"a": "1", "b": "2"}))
    patched = await api.patch(f"{api.claims}/www", {"metadata": {"labels": {"a": None, "c": "3"}}})
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}


async def test_a_json_patch_applies_in_order(api: Api) -> None:
    """An operation of a JSON patch sees the result of earlier ones; ~1 is a slash."""
    await api.create(api.claims, claim(labels={"a": "1"}))
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.dev~1note", "value": "x"},
        {"op": "replace", "path": "/metadata/labels/a", "value": "2"},
        {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/b"},
    ]
    patched = await api.patch(f"{api.claims}/www", operations, JSON_PATCH)
    assert patched["metadata"]["annotations"] == {"example.dev/note": "x"}
    assert patched["metadata"]["labels"] == {"a": "2", "b": "2"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/labels/a", "value": "other"},
        {"op": "remove", "path": "/metadata/labels/missing"},
        {"op": "replace", "path": "/spec/nowhere/deep", "value": 1},
    ],
)
async def test_a_failed_json_patch_changes_nothing(api: Api, operation: dict[str, Any]) -> None:
    """A failed test or a missing path refuses the whole JSON patch with 422."""
    await api.create(api.claims, claim(labels={"a": "1"}))
    operations = [{"op": "add", "path": "/metadata/labels/b", "value": "2"}, operation]
    answer = await api.call("PATCH", f"{api.claims}/www", operations, content=JSON_PATCH)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert (await api.get(f"{api.claims}/www"))["metadata"]["labels"] == {"a": "1"}


async def test_a_strategic_patch_merges_lists_by_key(api: Api) -> None:
    """Containers are merged by name; others stay, and one with $patch: delete is removed."""
    await api.create(api.sets, stateful_set())
    path = f"{api.sets}/web"

    def containers(*entries: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": list(entries)}}}}

    await api.patch(path, containers({"name": "side", "image": "busybox:1"}), STRATEGIC)
    patched = await api.patch(path, containers({"name": "main", "image": "nginx:2"}), STRATEGIC)
    found = patched["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in found} == {"main": "nginx:2", "side": "busybox:1"}
    patched = await api.patch(path, containers({"name": "side", "$patch": "delete"}), STRATEGIC)
    assert [each["name"] for each in patched["spec"]["template"]["spec"]["containers"]] == ["main"]


async def test_a_strategic_patch_merges_finalizers_as_a_set(api: Api) -> None:
    """A strategic patch adds finalizers, and removes only those in $deleteFromPrimitiveList."""
    await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    patched = await api.patch(path, {"metadata": {"finalizers": ["example.dev/a"]}}, STRATEGIC)
    assert sorted(patched["metadata"]["finalizers"]) == ["example.dev/a", "kubernetes.io/pvc-protection"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.dev/a"]}}
    patched = await api.patch(path, patch, STRATEGIC)
    assert patched["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


async def test_another_media_type_is_refused(api: Api) -> None:
    """A patch of an unknown media type is refused with 415."""
    await api.create(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {}, content="application/json")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")
