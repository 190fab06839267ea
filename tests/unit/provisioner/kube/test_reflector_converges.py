"""Whatever the server and the network do, the cache comes to say what the server says."""

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

T = TypeVar("T")


@pytest.mark.parametrize("seed", range(12))
async def test_the_cache_converges_through_broken_streams_errors_and_compaction(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost, doubled and unreadable events, 410 and 500: after the trouble ends nothing is missing and nothing is left."""
    monkeypatch.setattr(reflector, "SHORTEST_BACKOFF", 0.001)
    monkeypatch.setattr(reflector, "LONGEST_BACKOFF", 0.005)
    server, cache = Scripted(seed), Cache()
    woken: set[str] = set()
    task = asyncio.create_task(
        Reflector(
            cast("Transport", server), VOLUME, cache, changed=lambda obj: woken.add(obj["metadata"]["name"])
        ).run()
    )
    try:
        for number in range(60):
            name = f"v{server.random.randrange(8)}"
            server.put(name, number) if server.random.random() < 0.7 else server.remove(name)
            if number % 20 == 19:
                server.compact()
            await asyncio.sleep(0.001)
        server.trouble = False
        async with asyncio.timeout(10):
            while {each["metadata"]["name"]: each["value"] for each in cache.all()} != {
                name: each["value"] for name, each in server.objects.items()
            }:
                server.put("last", 1)  # a live server speaks up now and then
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert woken >= set(server.objects)


async def test_a_server_that_closes_every_watch_at_once_is_not_hammered() -> None:
    """Each short-lived watch makes the next one come later."""

    class Closing(Scripted):
        async def watch(self, kind, *, resource_version):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
            self.requests += 1
            return
            yield

    server = Closing(0)
    server.trouble = False
    task = asyncio.create_task(Reflector(cast("Transport", server), VOLUME, Cache(), changed=lambda _: None).run())
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])

    assert 2 <= server.requests <= 8


async def test_a_broken_stream_is_taken_up_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    """Going further back would show, for a while, objects that are gone: somebody might act on them."""
    monkeypatch.setattr(reflector, "SHORTEST_BACKOFF", 0.001)
    monkeypatch.setattr(reflector, "LONGEST_BACKOFF", 0.005)

    class Breaking(Scripted):
        asked: ClassVar[list[str]] = []

        async def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
            self.asked.append(resource_version)
            for event in self.log:
                if int(event.object["metadata"]["resourceVersion"]) > int(resource_version):
                    yield event
            raise Unavailable(0, "Unavailable", f"the stream of {kind.plural} broke")

    server, cache = Breaking(0), Cache()
    server.trouble = False
    server.put("a", 1)
    woken: list[int] = []
    task = _follow(server, cache, woken, word=lambda obj: obj["value"])
    try:
        await _until(lambda: len(server.asked) > 1)
        server.put("a", 2)
        server.remove("a")
        await _until(lambda: not cache.all() and len(server.asked) > 6)
    finally:
        await _end(task)

    assert sorted(server.asked, key=int) == server.asked
    assert woken == [1, 1, 2, 2, 2]  # came, changed from 1 to 2, went as 2


async def test_an_object_replaced_while_nobody_looked_wakes_both() -> None:
    """What the former one owned is found only by its UID."""
    server, cache = Scripted(0), Cache()
    server.trouble = False
    server.put("a", 1)
    server.objects["a"]["metadata"]["uid"] = "new"
    cache.put({"metadata": {"name": "a", "uid": "old", "resourceVersion": "0"}})
    woken: list[str] = []
    task = _follow(server, cache, woken, word=lambda obj: obj["metadata"]["uid"])
    try:
        await _until(lambda: len(woken) == 2)
    finally:
        await _end(task)

    assert woken == ["old", "new"]


async def test_a_listed_object_without_a_name_keeps_no_other_out() -> None:
    """One bad object is logged and left out."""
    server, cache = Scripted(0), Cache()
    server.trouble = False
    server.objects["odd"] = {"metadata": None}
    server.put("fine", 1)
    task = _follow(server, cache, [], word=lambda obj: obj["metadata"]["name"])
    try:
        await _until(lambda: [each["metadata"]["name"] for each in cache.all()] == ["fine"])
    finally:
        await _end(task)


def _follow(server: Scripted, cache: Cache, woken: list[T], *, word: Callable[[Json], T]) -> "asyncio.Task[None]":
    return asyncio.create_task(
        Reflector(cast("Transport", server), VOLUME, cache, changed=lambda obj: woken.append(word(obj))).run()
    )


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_an_index_can_come_later_and_may_not_make_out_an_object() -> None:
    """Such an object is in the cache, and found under no value."""
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
    """What is found under a value is what has that value now."""

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
