"""Serving waits for no walk: until a pool is measured its capacity is a lower bound, and only what does not fit waits."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi.errors import ResourceExhausted, Unavailable
from csi.host import files
from csi.host.files import Space
from csi.services.controller import Controller
from csi.v1 import csi_pb2
from csi.volumes import ledger as ledgers
from csi.volumes import measuring
from csi.volumes.ledger import Measured
from csi.volumes.pools import Pool
from csi.volumes.requests import Expanding
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.fake_backend import creation, manager_of

MIB = 1 << 20


class Disk:
    """A disk of 100 MiB with the given free bytes, whose walk lasts until the test allows its end."""

    def __init__(self) -> None:
        self.free = 100 * MIB
        self.may_end = threading.Event()
        self.stored: dict[str, int] = {}

    def space(self, path: Path) -> Space:
        """Return what statvfs reports."""
        assert path
        return Space(100 * MIB, self.free, self.free, 0, 0)

    def measure(self, pool: Pool, **_: object) -> Measured:
        """Measure like the walk of a large tree."""
        assert pool
        assert self.may_end.wait(20)
        return Measured(self.free, 100 * MIB - self.free, self.stored)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Replace the system calls that measure a disk."""
    found = Disk()
    monkeypatch.setattr(files, "filesystem_space", found.space)
    monkeypatch.setattr(ledgers, "measure", found.measure)
    monkeypatch.setattr(measuring, "REQUEST_WAIT_SECONDS", 0.01)
    yield found
    found.may_end.set()


async def _restarted(path: Path, disk: Disk) -> VolumeManager:
    """Return a volume manager on a pool that has a volume of 50 MiB with 40 MiB in it."""
    disk.may_end.set()
    manager, _ = manager_of(path)
    await manager.create(creation("old", 50 * MIB))
    await manager.stop()
    disk.free, disk.stored = 60 * MIB, {"old": 40 * MIB}
    disk.may_end.clear()
    return manager_of(path)[0]


async def test_what_fits_into_the_lower_bound_waits_for_no_measurement(tmp_path: Path, disk: Disk) -> None:
    """Of 60 MiB free, 57 can be reserved and 50 are; the tree counts as nothing until it is walked (I4)."""
    manager = await _restarted(tmp_path / "p", disk)
    (pool,) = manager.catalog.pools
    assert (manager.ledger.capacity(pool), manager.ledger.is_complete(pool)) == (57 * MIB, False)
    await manager.create(creation("fits", 6 * MIB))
    with pytest.raises(Unavailable, match="still measuring"):
        await manager.create(creation("later", 20 * MIB))
    assert manager.find(f"{pool.uuid}.old").manifest.state == "ready"

    disk.may_end.set()
    while not manager.ledger.is_complete(pool):
        await manager.measuring.round()
    await manager.create(creation("later", 20 * MIB))
    with pytest.raises(ResourceExhausted):
        await manager.create(creation("never", 60 * MIB))
    assert manager.ledger.allocated(pool) <= manager.ledger.capacity(pool) == 95 * MIB
    await manager.stop()


async def test_a_pool_that_is_not_measured_in_time_refuses(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no capacity, not even the lower bound, and reports why; a claim can use another pool."""
    manager = await _restarted(tmp_path / "p", disk)
    (pool,) = manager.catalog.pools
    (kept,) = manager.catalog.all()
    controller: Any = Controller(manager)  # type: ignore[abstract]
    assert (await controller.GetCapacity(csi_pb2.GetCapacityRequest(), None)).available_capacity == 7 * MIB
    with monkeypatch.context() as late:
        late.setattr(measuring, "DEADLINE_SECONDS", -1.0)
        await manager.measuring.round()
    for name, size in (("later", 20 * MIB), ("small", 4096)):
        with pytest.raises(ResourceExhausted, match="could not be measured in time"):
            await manager.create(creation(name, size))
    with pytest.raises(ResourceExhausted, match="could not be measured"):
        await manager.expand(Expanding(kept.manifest.handle, 51 * MIB, 0))
    assert (await controller.GetCapacity(csi_pb2.GetCapacityRequest(), None)).available_capacity == 0
    assert [each.reason for each in await manager.storage_health()] == ["PoolNotMeasured"]

    manager.admit(*manager.read_pool(pool))
    assert manager.ledger.available(pool) == 7 * MIB, "a disk that comes back has its full time again"
    disk.may_end.set()
    while not manager.ledger.is_complete(pool):
        await manager.measuring.round()
    assert (manager.ledger.available(pool), await manager.storage_health()) == (45 * MIB, [])
    await manager.stop()


async def test_a_configured_capacity_waits_for_no_measurement(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of a walk would not change it."""
    manager, _ = manager_of(tmp_path / "p", capacity=10 * MIB)
    monkeypatch.setattr(measuring, "DEADLINE_SECONDS", -1.0)
    await manager.measuring.round()
    assert (await manager.create(creation("a", 10 * MIB))).manifest.state == "ready"
    disk.may_end.set()
    await manager.stop()


async def test_stats_of_a_large_volume_answer_from_the_last_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walks use no threads that serve mounts, also for many requests; a small volume is measured at once."""
    manager, _ = manager_of(tmp_path / "p", capacity=1 << 30)
    entry = await manager.create(creation("a"))
    (entry.volume_dir / "data").unlink()
    (entry.volume_dir / "data").mkdir()
    (entry.volume_dir / "data" / "file").write_bytes(os.urandom(MIB))
    os.sync()
    quick = await manager.measuring.stored(entry)
    assert quick is not None
    assert MIB <= quick <= MIB + 65536
    may_end, started = threading.Event(), []

    def slow(path: Path, **_: object) -> int:
        started.append(path)
        assert may_end.wait(20)
        return 1

    monkeypatch.setattr("csi.host.trees.disk_bytes", slow)
    monkeypatch.setattr(measuring, "STATS_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(measuring, "PAUSE_FACTOR", 0)
    assert [quick] * 5 == [await manager.measuring.stored(entry) for _ in range(5)]
    assert len(started) == 1
    assert await asyncio.wait_for(manager.read(lambda: "served"), 5) == "served"
    may_end.set()
    await manager.stop()


async def test_a_failing_pool_stops_neither_the_loop_nor_another_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any exception: the pool keeps its last measurement, and is measured again later."""
    manager, _ = manager_of(tmp_path / "p", capacity=1 << 30)
    real = ledgers.measure

    def measure(pool: Pool, **_: object) -> Measured:
        raise RecursionError(pool.name)

    monkeypatch.setattr(ledgers, "measure", measure)
    await manager.measuring.round()
    monkeypatch.setattr(ledgers, "measure", real)
    await manager.measuring.round()
    assert manager.ledger.is_complete(manager.catalog.pools[0])
    await manager.stop()


def test_blocks_that_several_files_share_count_once() -> None:
    """A reflink copy doubles the bytes of the files, and not the space of the disk."""
    assert Measured(10, 20, {"a": 20, "b": 20}).reachable == 30


async def test_the_bytes_of_a_damaged_volume_are_not_available(tmp_path: Path) -> None:
    """I4: its reserved bytes are unknown."""
    manager, _ = manager_of(tmp_path / "p")
    await manager.create(creation("a", 65536))
    await manager.stop()
    (tmp_path / "p" / "volumes" / "a" / "manifest.json").write_bytes(b"{")
    again, _ = manager_of(tmp_path / "p")
    await again.measuring.round()
    (pool,) = again.catalog.pools
    measured = ledgers.measure(pool)

    assert measured.stored["a"] > 0
    assert again.ledger.capacity(pool) <= (measured.free + MIB) * ledgers.SHARE // 100
    await again.stop()


async def test_every_loop_survives_every_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I9: failed work is repeated in the next round, and delays no other loop."""
    manager, _ = manager_of(tmp_path / "p")
    manager._purge_seconds = 0.001  # rounds follow each other
    rounds = {"purge_expired": 0, "round": 0, "finish_interrupted": 0}

    def failing(name: str) -> None:
        async def fail() -> None:
            rounds[name] += 1
            raise RecursionError(name)

        target = {"purge_expired": manager.trash, "round": manager.measuring, "finish_interrupted": manager}[name]
        monkeypatch.setattr(target, name, fail)

    for name in rounds:
        failing(name)
    task = asyncio.create_task(manager.run_rounds())
    while min(rounds.values()) < 3:
        await asyncio.sleep(0.001)
        assert not task.done()
    task.cancel()
    await manager.stop()


async def test_no_trash_is_purged_before_the_pool_is_measured(tmp_path: Path, disk: Disk) -> None:
    """The bytes of volumes are unknown until they are measured, together with the free bytes of that time."""
    manager = await _restarted(tmp_path / "p", disk)
    (pool,) = manager.catalog.pools
    assert 0 == manager.ledger.shortfall(pool, 0)

    disk.free = 6 * MIB
    disk.may_end.set()
    await manager.measuring.round()
    assert manager.ledger.is_complete(pool)
    assert [4 * MIB, 4 * MIB, 0] == [manager.ledger.shortfall(pool, free * MIB) for free in (0, 6, 20)]
    await manager.stop()
