"""Watches."""

from tests.contract.conftest import JSON_PATCH, PARTIAL, TABLE, Api, claim


async def _version(api: Api) -> str:
    return str((await api.got(api.claims))["metadata"]["resourceVersion"])


async def test_a_watch_replays_and_follows(api: Api) -> None:
    """From a version on, a watch shows each change once and in order, past ones and those to come."""
    start = await _version(api)
    await api.made(api.claims, claim("a"))
    async with api.watch(api.claims, resourceVersion=start) as watch:
        await api.patched(f"{api.claims}/a", {"metadata": {"labels": {"x": "y"}}})
        await api.made(api.claims, claim("b"))
        await api.call("DELETE", f"{api.claims}/a")
        await api.call(
            "PATCH", f"{api.claims}/a", [{"op": "remove", "path": "/metadata/finalizers"}], content=JSON_PATCH
        )
        events = [await watch.next() for _ in range(5)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)


async def test_a_watch_from_nothing_shows_what_stands(api: Api) -> None:
    """Without a version a watch starts with the objects as they stand."""
    await api.made(api.claims, claim("a"))
    await api.made(api.claims, claim("b"))
    async with api.watch(api.claims) as watch:
        assert sorted(await watch.shown(2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_bookmark(api: Api) -> None:
    """With sendInitialEvents a marked bookmark stands between what was there and what comes."""
    await api.made(api.claims, claim("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(api.claims, **query) as watch:
        assert await watch.shown(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.made(api.claims, claim("b"))
        assert await watch.shown(1) == [("ADDED", "b")]


async def test_objects_come_into_view_and_go_out_of_it(api: Api) -> None:
    """With a selector, an object that starts to match is ADDED and one that stops is DELETED."""
    start = await _version(api)
    await api.made(api.claims, claim("a"))
    at = f"{api.claims}/a"
    async with api.watch(api.claims, resourceVersion=start, labelSelector="in=yes") as watch:
        await api.patched(at, {"metadata": {"labels": {"in": "yes"}}})
        await api.patched(at, {"metadata": {"labels": {"more": "yes"}}})
        changed = await api.patched(at, {"metadata": {"labels": {"in": None}}})
        events = [await watch.next() for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[2]["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_a_watch_can_follow_one_object(api: Api) -> None:
    """A field selector on the name leaves every other object out."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, fieldSelector="metadata.name=b") as watch:
        await api.made(api.claims, claim("a"))
        await api.made(api.claims, claim("b"))
        assert await watch.shown(1) == [("ADDED", "b")]


async def test_a_watch_keeps_to_its_namespace(api: Api) -> None:
    """A watch in one namespace hears nothing of another; one over all hears both."""
    start = await _version(api)
    async with (
        api.watch(
            "/api/v1/namespaces/default/persistentvolumeclaims", resourceVersion=start, timeoutSeconds="1"
        ) as other,
        api.watch("/api/v1/persistentvolumeclaims", resourceVersion=start) as everything,
    ):
        await api.made(api.claims, claim("a"))
        assert await everything.shown(1) == [("ADDED", "a")]
        assert await other._answer.content.read() == b""


async def test_a_watch_can_come_as_tables(api: Api) -> None:
    """Each event's object is a Table of one row for a client that asks for it."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, accept=TABLE) as watch:
        await api.made(api.claims, claim("a"))
        event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    assert event["object"]["rows"][0]["cells"][:2] == ["a", "Pending"]


async def test_a_watch_can_come_as_metadata(api: Api) -> None:
    """Events carry the objects' metadata alone for a client that asks for it."""
    start = await _version(api)
    async with api.watch(api.claims, resourceVersion=start, accept=PARTIAL.format("")) as watch:
        await api.made(api.claims, claim("a"))
        event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert event["object"]["metadata"]["name"] == "a"
    assert "spec" not in event["object"]


async def test_a_streamed_list_can_come_as_tables(api: Api) -> None:
    """The bookmark's Table carries the mark in its row, as `kubectl wait` and `get --watch` need it."""
    await api.made(api.claims, claim("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(api.claims, accept=TABLE, **query) as watch:
        first = await watch.next()
        assert first["object"]["rows"][0]["cells"][0] == "a"
        assert first["object"]["columnDefinitions"]


async def test_without_initial_events_a_watch_starts_now(api: Api) -> None:
    """With sendInitialEvents=false only what changes is shown."""
    await api.made(api.claims, claim("a"))
    query = {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    async with api.watch(api.claims, resourceVersion=await _version(api), **query) as watch:
        await api.made(api.claims, claim("b"))
        assert await watch.shown(1) == [("ADDED", "b")]
