"""I9: a disk whose system calls never return blocks its own pool only: no other call, list or start."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi.errors import Unavailable
from csi.host import files
from csi.services.controller import Controller
from csi.services.inventory import Inventory
from csi.services.node import Node
from csi.v1 import csi_pb2, inventory_pb2
from csi.volumes import health, pools, workers
from csi.volumes.discovery import Discovery
from csi.volumes.pools import Pool, make_pool, open_pools
from csi.volumes.requests import Expanding
from csi.volumes.volume_manager import VolumeManager
from csi.volumes.workers import Workers
from tests.unit.csi.volumes.fake_backend import creation, manager_of

SOON = 5.0


class Hanging:
    """A disk whose reads wait until the test ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over = threading.Event()
        self.pool: Path | None = None
        for module, name in ((pools, "read_identity"), (health, "read_identity"), (files, "filesystem_space")):
            monkeypatch.setattr(module, name, self._hung(getattr(module, name)))
        monkeypatch.setattr(Path, "iterdir", self._hung(Path.iterdir))
        monkeypatch.setattr(files, "write_atomic", self._hung(files.write_atomic))
        monkeypatch.setattr(files, "rename_durably", self._hung(files.rename_durably))

    def _hung(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *arguments: Any, **more: Any) -> Any:
            if self.pool is not None and path.is_relative_to(self.pool):
                assert self.over.wait(30)
            return real(path, *arguments, **more)

        return call


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Return a disk that can hang."""
    monkeypatch.setattr(workers, "READ_SECONDS", 0.2)
    found = Hanging(monkeypatch)
    yield found
    found.over.set()


@pytest.fixture
async def manager(tmp_path: Path) -> VolumeManager:
    """Return a volume manager with the pools `p` and `slow`, and a volume `kept` in each."""
    manager, _ = manager_of(tmp_path / "p", capacity=1 << 30)
    slow = make_pool(tmp_path / "slow", name="slow", capacity_bytes=2 << 30, known={})
    manager.load([slow])
    for name in ("p", "slow"):
        await manager.create(creation(f"kept-{name}", pool=name))
    return manager


async def _in_time(work: Any) -> Any:
    return await asyncio.wait_for(work, SOON)


async def test_calls_on_other_pools_and_lists_respond_beside_a_hanging_disk(
    tmp_path: Path, manager: VolumeManager, hanging: Hanging
) -> None:
    """Also while many calls on the hanging pool wait; its own volumes stay in the catalog."""
    discovery, slow = Discovery(manager, []), manager.catalog.pools[1]
    trashed = await manager.create(creation("trashed", pool="slow"))
    await manager.delete(trashed.manifest.handle)
    assert len(await manager.trash.all()) == 1
    hanging.pool = tmp_path / "slow"
    stuck = [asyncio.ensure_future(manager.create(creation(f"stuck-{n}", pool="slow"))) for n in range(20)]
    stuck += [asyncio.ensure_future(manager.expand(Expanding(f"{slow.uuid}.kept-slow", 2 << 20, 0)))]
    await asyncio.sleep(0)
    controller: Any = Controller(manager)  # type: ignore[abstract]
    inventory: Any = Inventory(manager)
    node: Any = Node(manager)
    await _in_time(discovery.poll())
    await _in_time(discovery.poll())

    made = await _in_time(manager.create(creation("a")))
    assert made.pool.name == "p"
    await _in_time(manager.expand(Expanding(made.manifest.handle, 2 << 20, 0)))
    await _in_time(manager.unpublish(made.manifest.handle, str(tmp_path / "target")))
    await _in_time(manager.delete(made.manifest.handle))
    started = time.monotonic()
    found = (await _in_time(inventory.ListPools(inventory_pb2.ListPoolsRequest(), None))).pools
    assert {pool.name: bool(pool.problem) for pool in found} == {"p": False, "slow": True}
    assert "not responded" in found[1].problem
    capacity = await _in_time(controller.GetCapacity(csi_pb2.GetCapacityRequest(), None))
    assert capacity.available_capacity < 1 << 30
    volumes = (await _in_time(controller.ListVolumes(csi_pb2.ListVolumesRequest(), None))).entries
    assert {each.volume.volume_id.partition(".")[2] for each in volumes} >= {"kept-p", "kept-slow"}
    trash = (await _in_time(inventory.ListTrash(inventory_pb2.ListTrashRequest(), None))).entries
    assert {each.manifest.csi_name for each in trash} == {"a", "trashed"}
    answer = await _in_time(node.NodeGetStorageHealth(csi_pb2.NodeGetStorageHealthRequest(), None))
    assert [each.reason for each in answer.backend_health] == ["PoolNotResponding"]
    ill = (await _in_time(manager.health(f"{slow.uuid}.kept-slow")))[0]
    assert (ill.status, ill.reason) == ("INACCESSIBLE", "PoolNotResponding")
    assert time.monotonic() - started < SOON
    with pytest.raises(Unavailable, match="not responded"):
        await _in_time(manager.trash.purge())
    assert [each.manifest.name for each in await manager.trash.all()] == ["trashed"], "the other pool was purged"

    hanging.over.set()
    await asyncio.gather(*stuck, return_exceptions=True)
    await discovery.poll()
    assert manager.catalog.unresponsive == {}
    await manager.stop()


async def test_the_rounds_of_other_pools_continue_beside_a_hanging_disk(
    tmp_path: Path, manager: VolumeManager, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are purged and measured repeatedly; work on the hanging disk is started once."""
    monkeypatch.setattr("csi.volumes.rounds.ROUND_SECONDS", 0.3)
    monkeypatch.setattr("csi.volumes.measuring.REQUEST_WAIT_SECONDS", 0.3)
    hanging.pool = tmp_path / "slow"
    for number in range(2):
        entry = await manager.create(creation(f"a{number}", pool="p", trashRetention="0s"))
        await manager.delete(entry.manifest.handle)
        assert await _in_time(manager.trash.purge_expired()) == 1
        await _in_time(manager.measuring.round())
        await _in_time(manager.finish_interrupted())
    assert manager.ledger.is_complete(manager.catalog.pools[0])
    hanging.over.set()
    await manager.stop()


async def test_a_start_does_not_wait_for_a_hanging_disk(tmp_path: Path, hanging: Hanging) -> None:
    """It is served once it responds; all others are served at once."""
    for name in ("p", "slow"):
        make_pool(tmp_path / name, name=name, capacity_bytes=None, known={})
    hanging.pool, known = tmp_path / "slow", tmp_path / "known.json"
    opened = open_pools([tmp_path / "slow", tmp_path / "p"], known_file=known, init_empty=False)
    assert ([pool.name for pool in opened.pools], "does not answer" in opened.problems[tmp_path / "slow"]) == (
        ["p"],
        True,
    )
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [tmp_path], paths=[tmp_path / "slow"], known_file=known)
    await _in_time(discovery.poll_safely())
    assert [pool.name for pool in manager.catalog.available_pools] == ["p"]
    hanging.pool = None
    hanging.over.set()
    while len(manager.catalog.available_pools) < 2:
        await discovery.poll()
    await manager.stop()


async def test_a_pool_that_hangs_while_it_is_read_is_refused(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity may be in the page cache, while the volumes are not."""
    manager, _ = manager_of(tmp_path / "p")
    slow = make_pool(tmp_path / "slow", name="slow", capacity_bytes=None, known={})

    def read(pool: Pool) -> None:
        assert hanging.over.wait(30), pool

    monkeypatch.setattr(workers, "READ_SECONDS", 0.1)
    with monkeypatch.context() as hung:
        hung.setattr(manager, "read_pool", read)
        manager.load([slow])
    assert [pool.name for pool in manager.catalog.available_pools] == ["p"]
    assert slow.path in manager.catalog.refused
    hanging.over.set()
    await manager.stop()


async def test_a_hanging_lane_is_waited_for_once_and_serves_again_when_it_responds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Later reads are refused at once instead of waiting for the timeout each."""
    monkeypatch.setattr(workers, "READ_SECONDS", 0.1)
    found, over = Workers(1), threading.Event()
    with pytest.raises(Unavailable):
        await found.read(lambda: over.wait(30), lane="slow")
    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable, match="slow"):
            await found.read(lambda: None, lane="slow")
    assert await found.read(lambda: "served", lane="other") == "served"
    assert time.monotonic() - started < 0.1 * 50
    over.set()
    while True:
        try:
            assert await found.read(lambda: "served", lane="slow") == "served"
            break
        except Unavailable:
            await asyncio.sleep(0.005)
    found.close()


async def test_the_number_of_calls_that_wait_in_a_lane_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a hanging disk is bounded; waiting calls run in their order."""
    monkeypatch.setattr(workers, "MAX_WAITING", 3)
    found, over, done = Workers(1), threading.Event(), list[int]()
    first = asyncio.ensure_future(found.run(lambda: over.wait(30), lane="slow"))
    await asyncio.sleep(0)
    rest = [asyncio.ensure_future(found.run(functools.partial(done.append, n), lane="slow")) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="wait for the disk of pool slow"):
        await found.run(lambda: None, lane="slow")
    over.set()
    await asyncio.gather(first, *rest)
    assert done == [0, 1, 2]
    found.close()
