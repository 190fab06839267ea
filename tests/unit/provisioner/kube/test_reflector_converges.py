"""The cache converges to the state of the server, whatever the server and the network do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, TypeVar, cast

import pytest

from provisioner.kube import reflector
from provisioner.kube.cache import Cache, Caches
from provisioner.kube.errors import Unavailable
from provisioner.kube.reflector import Reflector
from provisioner.kube.transport import Transport, WatchEvent
from provisioner.model.kinds import CLAIM, VOLUME, Json, Kind
from tests.unit.provisioner.kube.scripted import Scripted
from tests.until import until_async

T = TypeVar("T")


@pytest.mark.parametrize("seed", range(12))
async def test_the_cache_converges_through_broken_streams_errors_and_compaction(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After lost, repeated and unreadable events, 410 and 500, no object is missing and no deleted one remains."""
    monkeypatch.setattr(reflector, "SHORTEST_BACKOFF", 0.001)
    monkeypatch.setattr(reflector, "LONGEST_BACKOFF", 0.005)
    server, cache = Scripted(seed), Cache()
    changed: set[str] = set()
    task = asyncio.create_task(
        Reflector(
            cast("Transport", server), VOLUME, cache, changed=lambda obj: changed.add(obj["metadata"]["name"])
        ).run()
    )
    try:
        for number in range(60):
            name = f"v{server.random.randrange(8)}"
            server.put(name, number) if server.random.random() < 0.7 else server.remove(name)
            if number % 20 == 19:
                server.compact()
            await asyncio.sleep(0.001)
        server.faulty = False
        async with asyncio.timeout(10):
            while {each["metadata"]["name"]: each["value"] for each in cache.all()} != {
                name: each["value"] for name, each in server.objects.items()
            }:
                server.put("last", 1)  # a real server sends an event now and then
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert changed >= set(server.objects)


async def test_a_server_that_closes_every_watch_at_once_gets_few_requests() -> None:
    """Each short watch increases the pause before the next one."""

    class Closing(Scripted):
        async def watch(self, kind, *, resource_version):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
            self.requests += 1
            return
            yield

    server = Closing(0)
    server.faulty = False
    task = asyncio.create_task(Reflector(cast("Transport", server), VOLUME, Cache(), changed=lambda _: None).run())
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])

    assert 2 <= server.requests <= 8


async def test_a_broken_stream_is_resumed_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version would show deleted objects for a while, and a controller might act on them."""
    monkeypatch.setattr(reflector, "SHORTEST_BACKOFF", 0.001)
    monkeypatch.setattr(reflector, "LONGEST_BACKOFF", 0.005)

    class Breaking(Scripted):
        requested: ClassVar[list[str]] = []

        async def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
            self.requested.append(resource_version)
            for event in self.log:
                if int(event.object["metadata"]["resourceVersion"]) > int(resource_version):
                    yield event
            raise Unavailable(0, "Unavailable", f"the stream of {kind.plural} broke")

    server, cache = Breaking(0), Cache()
    server.faulty = False
    server.put("a", 1)
    changed: list[int] = []
    task = _follow(server, cache, changed, value_of=lambda obj: obj["value"])
    try:
        await _until(lambda: len(server.requested) > 1)
        server.put("a", 2)
        server.remove("a")
        await _until(lambda: not cache.all() and len(server.requested) > 6)
    finally:
        await _end(task)

    assert sorted(server.requested, key=int) == server.requested
    assert changed == [1, 1, 2, 2, 2]  # created, changed from 1 to 2, deleted as 2


async def test_an_object_replaced_between_two_lists_reports_both_versions() -> None:
    """Objects that the old one owned are found only by its UID."""
    server, cache = Scripted(0), Cache()
    server.faulty = False
    server.put("a", 1)
    server.objects["a"]["metadata"]["uid"] = "new"
    cache.put({"metadata": {"name": "a", "uid": "old", "resourceVersion": "0"}})
    changed: list[str] = []
    task = _follow(server, cache, changed, value_of=lambda obj: obj["metadata"]["uid"])
    try:
        await _until(lambda: len(changed) == 2)
    finally:
        await _end(task)

    assert changed == ["old", "new"]


async def test_a_listed_object_without_a_name_does_not_affect_others() -> None:
    """The invalid object is logged and left out."""
    server, cache = Scripted(0), Cache()
    server.faulty = False
    server.objects["odd"] = {"metadata": None}
    server.put("fine", 1)
    task = _follow(server, cache, [], value_of=lambda obj: obj["metadata"]["name"])
    try:
        await _until(lambda: [each["metadata"]["name"] for each in cache.all()] == ["fine"])
    finally:
        await _end(task)


def _follow(server: Scripted, cache: Cache, changed: list[T], *, value_of: Callable[[Json], T]) -> "asyncio.Task[None]":
    return asyncio.create_task(
        Reflector(cast("Transport", server), VOLUME, cache, changed=lambda obj: changed.append(value_of(obj))).run()
    )


async def _until(check: Callable[[], bool]) -> None:
    async def checked() -> bool:
        return check()

    await until_async(checked, "the cache has converged", seconds=10, pause=0.005)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_an_index_can_be_added_later_and_skips_objects_it_cannot_read() -> None:
    """An object that the index cannot read is in the cache, and found under no value."""
    cache = Cache()
    cache.put({"metadata": {"name": "a"}, "class": "x"})
    cache.put({"metadata": {"name": "odd"}})
    cache.add_index("class", lambda obj: [obj["class"]])
    cache.put({"metadata": {"name": "b"}, "class": "x"})

    assert ["a", "b"] == [each["metadata"]["name"] for each in cache.by("class", "x")]
    assert len(cache.all()) == 3
    cache.remove(("", "odd"))
    assert len(cache.all()) == 2


def test_indexes_follow_their_objects() -> None:
    """An index finds the objects that have the value now."""

    def by_class(obj: Json) -> list[str]:
        return [obj["class"]]

    cache = Caches({CLAIM: {"class": by_class}})[CLAIM]
    for name, cls in (("a", "x"), ("b", "x"), ("a", "y")):
        cache.put({"metadata": {"name": name, "namespace": "n"}, "class": cls})

    assert ["b"] == [each["metadata"]["name"] for each in cache.by("class", "x")]
    assert ["a"] == [each["metadata"]["name"] for each in cache.by("class", "y")]
    cache.remove(("n", "b"))
    assert cache.by("class", "x") == []
    assert len(cache.all("n")) == 1
    assert cache.all("other") == []
