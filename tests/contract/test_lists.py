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
    """Each operator selects as Kubernetes defines it; absence fulfils the negative ones."""
    await api.made(api.claims, claim("a", labels={"app": "nginx", "tier": "front"}))
    await api.made(api.claims, claim("b", labels={"app": "nginx", "tier": "back"}))
    await api.made(api.claims, claim("c", labels={"app": "redis", "tier": "middle"}))
    await api.made(api.claims, claim("d"))
    found = await api.got(api.claims, labelSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names
    assert found["kind"] == "PersistentVolumeClaimList"


async def test_field_selectors(api: Api) -> None:
    """Objects can be chosen by name, and pods by node and phase."""
    for name in ("one", "two"):
        await api.made(api.pods, pod(name))
    found = await api.got(api.pods, fieldSelector="metadata.name=two,status.phase!=Running,spec.nodeName=")
    assert [item["metadata"]["name"] for item in found["items"]] == ["two"]
    everywhere = await api.got("/api/v1/pods", fieldSelector=f"metadata.namespace={api.namespace}")
    assert len(everywhere["items"]) == 2
    assert (await api.call("GET", api.pods, fieldSelector="spec.unknown=1")).status == 400


@pytest.mark.parametrize("selector", ["a in (b", "=x", "a=b=c", "a=b,,c"])
async def test_a_broken_selector_is_refused(api: Api, selector: str) -> None:
    """A selector that cannot be read is a bad request."""
    assert (await api.call("GET", api.claims, labelSelector=selector)).status == 400


async def test_pages_show_one_moment(api: Api) -> None:
    """What is made, changed or deleted between two pages is not seen in the second."""
    for name in ("a", "b", "c", "d"):
        await api.made(api.claims, claim(name))
    first = await api.got(api.claims, limit="2")
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 2
    await api.call("DELETE", f"{api.claims}/c")
    await api.call("PATCH", f"{api.claims}/c", [{"op": "remove", "path": "/metadata/finalizers"}], content=JSON_PATCH)
    await api.patched(f"{api.claims}/d", {"metadata": {"labels": {"new": "yes"}}})
    await api.made(api.claims, claim("e"))
    second = await api.got(api.claims, limit="2", **{"continue": first["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in second["items"]] == ["c", "d"]
    assert "labels" not in second["items"][1]["metadata"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def test_a_foreign_continue_token_is_refused(api: Api) -> None:
    """A token that no list gave is a bad request."""
    assert (await api.call("GET", api.claims, **{"continue": "what is this"})).status == 400


async def test_a_table_has_kubectls_columns(api: Api) -> None:
    """A client that asks for a Table gets a claim's columns, and each row's metadata."""
    await api.made(api.claims, claim())
    table = (await api.call("GET", api.claims, accept=f"{TABLE},application/json")).body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    names = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert names == [
        "Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
    ]  # fmt: skip
    (row,) = table["rows"]
    assert row["cells"][:7] == ["www", "Pending", "", "", "", "", "<unset>"]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "www")


async def test_a_table_can_carry_whole_objects_or_none(api: Api) -> None:
    """Each row has the object, its metadata, or nothing, as includeObject says."""
    await api.made(api.claims, claim())

    async def row(include: str) -> Json:
        table = (await api.call("GET", api.claims, accept=TABLE, includeObject=include)).body
        found: Json = table["rows"][0]
        return found

    assert (await row("Object"))["object"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "spec" not in (await row("Metadata"))["object"]
    assert not (await row("None")).get("object")


async def test_metadata_can_come_alone(api: Api) -> None:
    """One object or a list, without spec and status."""
    await api.made(api.claims, claim())
    one = (await api.call("GET", f"{api.claims}/www", accept=PARTIAL.format(""))).body
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one["metadata"]["name"] == "www"
    assert "spec" not in one
    every = (await api.call("GET", api.claims, accept=PARTIAL.format("List"))).body
    assert every["kind"] == "PartialObjectMetadataList"
    assert [each["metadata"]["name"] for each in every["items"]] == ["www"]


async def test_a_list_can_be_of_an_earlier_moment(api: Api) -> None:
    """Exact shows what stood at that version; NotOlderThan may show what is newer."""
    made = await api.made(api.claims, claim("a"))
    version = made["metadata"]["resourceVersion"]
    await api.made(api.claims, claim("b"))
    exact = await api.got(api.claims, resourceVersion=version, resourceVersionMatch="Exact")
    assert [each["metadata"]["name"] for each in exact["items"]] == ["a"]
    assert exact["metadata"]["resourceVersion"] == version
    newer = await api.got(api.claims, resourceVersion=version, resourceVersionMatch="NotOlderThan")
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
async def test_options_that_do_not_go_together_are_refused(api: Api, query: dict[str, str]) -> None:
    """422 about ListOptions, with the causes."""
    answer = await api.call("GET", api.claims, **query)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["kind"] == "ListOptions"
    assert answer.body["details"]["causes"]


async def test_a_version_of_the_future_is_not_there_yet(api: Api) -> None:
    """A list that must be newer than everything is a Timeout, to be asked again."""
    answer = await api.call("GET", api.claims, resourceVersion="999999999999", resourceVersionMatch="NotOlderThan")
    assert (answer.status, answer.reason) == (504, "Timeout")
    assert answer.body["details"]["retryAfterSeconds"] > 0
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_selection_does_not_tell_how_much_is_left(api: Api) -> None:
    """The number of remaining items is told of whole lists only."""
    for name in ("a", "b"):
        await api.made(api.claims, claim(name, labels={"x": "y"}))
    page = await api.got(api.claims, limit="1", labelSelector="x=y")
    assert page["metadata"]["continue"]
    assert "remainingItemCount" not in page["metadata"]
