"""Watches."""

from tests.contract.conftest import JSON_PATCH, PARTIAL, TABLE, Api, claim


async def _version(api: Api) -> str:
    return str((await api.get(api.claims))["metadata"]["resourceVersion"])


async def test_a_watch_reports_past_and_new_changes(api: Api) -> None:
    """A watch from a version reports each past and new change once and in order."""
    start = await _version(api)
    await api.create(api.claims, claim("a"))
    async with api.watch(api.claims, resourceVersion=start) as watch:
        await api.patch(f"{api.claims}/a", {"metadata": {"labels": {"x": "y"}}})
        await api.create(api.claims, claim("b"))
        await api.call("DELETE", f"{api.claims}/a")
        await api.call(
            "PATCH", f"{api.claims}/a", [{"op": "remove", "path": "/metadata/finalizers"}], content=JSON_PATCH
        )
        events = [await watch.next() for _ in range(5)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)


async def test_a_watch_without_a_version_starts_with_the_current_objects(api: Api) -> None:
    """A watch without a version reports the current objects first, as ADDED."""
    await api.create(api.claims, claim("a"))
    await api.create(api.claims, claim("b"))
    async with api.watch(api.claims) as watch:
        assert sorted(await watch.types_and_names(2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_bookmark(api: Api) -> None:
    """With sendInitialEvents an annotated bookmark separates the current objects from new changes."""
    await api.create(api.claims, claim("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(api.claims, **query) as watch:
        assert await watch.types_and_names(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.create(api.claims, claim("b"))
        assert await watch.types_and_names(1) == [("ADDED", "b")]


async def test_a_selector_turns_changes_into_added_and_deleted(api: Api) -> None:
    """With a selector, an object that starts to match is ADDED and one that stops is DELETED."""
    start = await _version(api)
    await api.create(api.claims, claim("a"))
    path = f"{api.claims}/a"
    async with api.watch(api.claims, resourceVersion=start, labelSelector="in=yes") as watch:
        await api.patch(path, {"metadata": {"labels": {"in": "yes"}}})
        await api.patch(path, {"metadata": {"labels": {"more": "yes"}}})
        changed = await api.patch(path, {"metadata": {"labels": {"in": None}}})
        events = [await watch.next() for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[2]["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_a_watch_can_select_one_object(api: Api) -> None:
    """A watch with a field selector on the name reports only that object."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, fieldSelector="metadata.name=b") as watch:
        await api.create(api.claims, claim("a"))
        await api.create(api.claims, claim("b"))
        assert await watch.types_and_names(1) == [("ADDED", "b")]


async def test_a_watch_reports_only_its_namespace(api: Api) -> None:
    """A watch of one namespace reports no object of another; a watch of all namespaces reports all."""
    start = await _version(api)
    async with (
        api.watch(
            "/api/v1/namespaces/default/persistentvolumeclaims", resourceVersion=start, timeoutSeconds="1"
        ) as other,
        api.watch("/api/v1/persistentvolumeclaims", resourceVersion=start) as everything,
    ):
        await api.create(api.claims, claim("a"))
        assert await everything.types_and_names(1) == [("ADDED", "a")]
        assert await other._answer.content.read() == b""


async def test_a_watch_can_return_tables(api: Api) -> None:
    """If the client accepts Tables, each event's object is a Table of one row."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, accept=TABLE) as watch:
        await api.create(api.claims, claim("a"))
        event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    assert event["object"]["rows"][0]["cells"][:2] == ["a", "Pending"]


async def test_a_watch_can_return_metadata(api: Api) -> None:
    """If the client accepts PartialObjectMetadata, events have only the objects' metadata."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, accept=PARTIAL.format("")) as watch:
        await api.create(api.claims, claim("a"))
        event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert event["object"]["metadata"]["name"] == "a"
    assert "spec" not in event["object"]


async def test_a_streamed_list_can_return_tables(api: Api) -> None:
    """A streamed list can be Tables; `kubectl wait` and `get --watch` need the bookmark's annotation in a row."""
    await api.create(api.claims, claim("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(api.claims, accept=TABLE, **query) as watch:
        first = await watch.next()
        assert first["object"]["rows"][0]["cells"][0] == "a"
        assert first["object"]["columnDefinitions"]


async def test_a_watch_without_initial_events_reports_only_changes(api: Api) -> None:
    """With sendInitialEvents=false a watch reports only changes after its version."""
    await api.create(api.claims, claim("a"))
    query = {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    async with api.watch(api.claims, resourceVersion=await _version(api), **query) as watch:
        await api.create(api.claims, claim("b"))
        assert await watch.types_and_names(1) == [("ADDED", "b")]
