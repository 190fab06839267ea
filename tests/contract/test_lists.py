"""Lists: selectors and pages."""

import pytest

from tests.contract.conftest import JSON_PATCH, PARTIAL, TABLE, Api, Json, claim, pod


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=nginx", ["a", "b"]),
        ("app==nginx,tier=front", ["a"]),
        ("app!=nginx", ["c", "d"]),
        ("tier in (front, middle)", ["a", "c"]),
        ("tier notin (front)", ["b", "c", "d"]),
        ("tier", ["a", "b", "c"]),
        ("!tier", ["d"]),
        ("", ["a", "b", "c", "d"]),
    ],
)
async def test_label_selectors(api: Api, selector: str, names: list[str]) -> None:
    """Each operator selects as in Kubernetes; an absent label matches the negative operators."""
    await api.create(api.claims, claim("a", labels={"app": "nginx", "tier": "front"}))
    await api.create(api.claims, claim("b", labels={"app": "nginx", "tier": "back"}))
    await api.create(api.claims, claim("c", labels={"app": "redis", "tier": "middle"}))
    await api.create(api.claims, claim("d"))
    found = await api.get(api.claims, labelSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names
    assert found["kind"] == "PersistentVolumeClaimList"


async def test_field_selectors(api: Api) -> None:
    """Objects can be selected by name, and pods by node and phase."""
    for name in ("one", "two"):
        await api.create(api.pods, pod(name))
    found = await api.get(api.pods, fieldSelector="metadata.name=two,status.phase!=Running,spec.nodeName=")
    assert [item["metadata"]["name"] for item in found["items"]] == ["two"]
    everywhere = await api.get("/api/v1/pods", fieldSelector=f"metadata.namespace={api.namespace}")
    assert len(everywhere["items"]) == 2
    assert (await api.call("GET", api.pods, fieldSelector="spec.unknown=1")).status == 400


@pytest.mark.parametrize("selector", ["a in (b", "=x", "a=b=c", "a=b,,c"])
async def test_an_invalid_selector_is_refused(api: Api, selector: str) -> None:
    """A selector that cannot be parsed is a bad request."""
    assert (await api.call("GET", api.claims, labelSelector=selector)).status == 400


async def test_pages_have_one_version(api: Api) -> None:
    """Objects created, changed or deleted between two pages do not change the second page."""
    for name in ("a", "b", "c", "d"):
        await api.create(api.claims, claim(name))
    first = await api.get(api.claims, limit="2")
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 2
    await api.call("DELETE", f"{api.claims}/c")
    await api.call("PATCH", f"{api.claims}/c", [{"op": "remove", "path": "/metadata/finalizers"}], content=JSON_PATCH)
    await api.patch(f"{api.claims}/d", {"metadata": {"labels": {"new": "yes"}}})
    await api.create(api.claims, claim("e"))
    second = await api.get(api.claims, limit="2", **{"continue": first["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in second["items"]] == ["c", "d"]
    assert "labels" not in second["items"][1]["metadata"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def test_an_invalid_continue_token_is_refused(api: Api) -> None:
    """A continue token that no list returned is a bad request."""
    assert (await api.call("GET", api.claims, **{"continue": "what is this"})).status == 400


async def test_a_table_has_kubectls_columns(api: Api) -> None:
    """A Table of claims has kubectl's columns, and each row has the object's metadata."""
    await api.create(api.claims, claim())
    table = (await api.call("GET", api.claims, accept=f"{TABLE},application/json")).body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    names = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert names == [
        "Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
    ]  # fmt: skip
    (row,) = table["rows"]
    assert row["cells"][:7] == ["www", "Pending", "", "", "", "", "<unset>"]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "www")


async def test_a_table_can_include_whole_objects_or_none(api: Api) -> None:
    """Each row has the object, its metadata, or neither, depending on includeObject."""
    await api.create(api.claims, claim())

    async def row(include: str) -> Json:
        table = (await api.call("GET", api.claims, accept=TABLE, includeObject=include)).body
        found: Json = table["rows"][0]
        return found

    assert (await row("Object"))["object"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "spec" not in (await row("Metadata"))["object"]
    assert not (await row("None")).get("object")


async def test_metadata_can_be_requested_alone(api: Api) -> None:
    """PartialObjectMetadata has no spec and status, for one object and for a list."""
    await api.create(api.claims, claim())
    one = (await api.call("GET", f"{api.claims}/www", accept=PARTIAL.format(""))).body
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one["metadata"]["name"] == "www"
    assert "spec" not in one
    every = (await api.call("GET", api.claims, accept=PARTIAL.format("List"))).body
    assert every["kind"] == "PartialObjectMetadataList"
    assert [each["metadata"]["name"] for each in every["items"]] == ["www"]


async def test_a_list_can_be_of_an_earlier_version(api: Api) -> None:
    """Exact returns the list of that version; NotOlderThan may return a newer one."""
    created = await api.create(api.claims, claim("a"))
    version = created["metadata"]["resourceVersion"]
    await api.create(api.claims, claim("b"))
    exact = await api.get(api.claims, resourceVersion=version, resourceVersionMatch="Exact")
    assert [each["metadata"]["name"] for each in exact["items"]] == ["a"]
    assert exact["metadata"]["resourceVersion"] == version
    newer = await api.get(api.claims, resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert "a" in [each["metadata"]["name"] for each in newer["items"]]


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Nearly", "resourceVersion": "1"},
        {"sendInitialEvents": "true"},
        {"watch": "true", "resourceVersionMatch": "NotOlderThan"},
        {"watch": "true", "sendInitialEvents": "true"},
        {"watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "Exact", "resourceVersion": "1"},
    ],
)
async def test_conflicting_options_are_refused(api: Api, query: dict[str, str]) -> None:
    """Conflicting options are refused with a 422 about ListOptions that has the causes."""
    answer = await api.call("GET", api.claims, **query)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["kind"] == "ListOptions"
    assert answer.body["details"]["causes"]


async def test_a_list_of_a_future_version_times_out(api: Api) -> None:
    """A list that must be newer than all objects gets a Timeout with a delay for the retry."""
    answer = await api.call("GET", api.claims, resourceVersion="999999999999", resourceVersionMatch="NotOlderThan")
    assert (answer.status, answer.reason) == (504, "Timeout")
    assert answer.body["details"]["retryAfterSeconds"] > 0
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_selection_has_no_remaining_item_count(api: Api) -> None:
    """The number of remaining items is set only for lists without a selector."""
    for name in ("a", "b"):
        await api.create(api.claims, claim(name, labels={"x": "y"}))
    page = await api.get(api.claims, limit="1", labelSelector="x=y")
    assert page["metadata"]["continue"]
    assert "remainingItemCount" not in page["metadata"]
