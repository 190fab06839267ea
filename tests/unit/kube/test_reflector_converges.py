"""Whatever the server and the network do, the cache comes to say what the server says."""

import asyncio
from typing import cast

import pytest

from provisioner.kube import reflector
from provisioner.kube.cache import Cache, Caches
from provisioner.kube.reflector import Reflector
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, VOLUME, Json
from tests.unit.kube.scripted import Scripted


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
