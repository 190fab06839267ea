"""The three kinds of patch."""

from typing import Any

import pytest

from tests.contract.conftest import JSON_PATCH, STRATEGIC, Api, claim, stateful_set


async def test_a_merge_patch_removes_with_null(api: Api) -> None:
    """Null takes a field away, maps are merged."""
    await api.made(api.claims, claim(labels={"a": "1", "b": "2"}))
    patched = await api.patched(f"{api.claims}/www", {"metadata": {"labels": {"a": None, "c": "3"}}})
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}


async def test_a_json_patch_applies_in_order(api: Api) -> None:
    """Operations of a JSON patch see what those before them did; ~1 is a slash."""
    await api.made(api.claims, claim(labels={"a": "1"}))
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.dev~1note", "value": "x"},
        {"op": "replace", "path": "/metadata/labels/a", "value": "2"},
        {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/b"},
    ]
    patched = await api.patched(f"{api.claims}/www", operations, JSON_PATCH)
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
async def test_a_json_patch_that_does_not_fit_changes_nothing(api: Api, operation: dict[str, Any]) -> None:
    """A failed test or a missing path refuses the whole patch with 422."""
    await api.made(api.claims, claim(labels={"a": "1"}))
    operations = [{"op": "add", "path": "/metadata/labels/b", "value": "2"}, operation]
    answer = await api.call("PATCH", f"{api.claims}/www", operations, content=JSON_PATCH)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert (await api.got(f"{api.claims}/www"))["metadata"]["labels"] == {"a": "1"}


async def test_a_strategic_patch_merges_lists_by_key(api: Api) -> None:
    """A container is found by its name, another one stays, a marked one goes."""
    await api.made(api.sets, stateful_set())
    at = f"{api.sets}/web"

    def containers(*entries: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": list(entries)}}}}

    await api.patched(at, containers({"name": "side", "image": "busybox:1"}), STRATEGIC)
    patched = await api.patched(at, containers({"name": "main", "image": "nginx:2"}), STRATEGIC)
    found = patched["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["image"] for each in found} == {"main": "nginx:2", "side": "busybox:1"}
    patched = await api.patched(at, containers({"name": "side", "$patch": "delete"}), STRATEGIC)
    assert [each["name"] for each in patched["spec"]["template"]["spec"]["containers"]] == ["main"]


async def test_a_strategic_patch_unites_finalizers(api: Api) -> None:
    """Finalizers are a set: a patch adds, and takes away only by name."""
    await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    patched = await api.patched(at, {"metadata": {"finalizers": ["example.dev/a"]}}, STRATEGIC)
    assert sorted(patched["metadata"]["finalizers"]) == ["example.dev/a", "kubernetes.io/pvc-protection"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.dev/a"]}}
    patched = await api.patched(at, patch, STRATEGIC)
    assert patched["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


async def test_another_media_type_is_refused(api: Api) -> None:
    """A patch of an unknown kind is refused with 415."""
    await api.made(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {}, content="application/json")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")
