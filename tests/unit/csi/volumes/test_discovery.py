"""Disks that are mounted and unmounted while the driver runs."""

import json
import shutil
from pathlib import Path

import pytest

from csi.errors import NotFound, ResourceExhausted
from csi.volumes.discovery import Discovery
from csi.volumes.ledger import Measured
from csi.volumes.node_record import NodeRecord
from csi.volumes.pools import Pool, make_pool
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.fake_backend import creation, manager_of


def _handles(manager: VolumeManager) -> list[str]:
    return [entry.manifest.id for entry in manager.catalog.all()]


async def test_a_pool_that_is_added_is_served(tmp_path: Path) -> None:
    """No restart is needed; its volumes are listed."""
    folder, other = tmp_path / "pools", tmp_path / "other"
    folder.mkdir()
    elsewhere, _ = manager_of(other / "p", capacity=1 << 30)
    handle = (await elsewhere.create(creation("pvc-1"))).manifest.handle
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [folder, tmp_path / "none"])
    await discovery.poll()
    assert 1 == len(manager.catalog.available_pools)
    (folder / "empty").mkdir()
    (other / "p").rename(folder / "disk")
    await discovery.poll()
    assert 2 == len(manager.catalog.available_pools)
    assert folder / "disk" == manager.find(handle).pool.path
    assert (await manager.create(creation("pvc-2", pool="p"))).manifest.id == "pvc-2"


async def test_the_volumes_of_a_pool_are_listed_only_while_its_disk_is_mounted(tmp_path: Path) -> None:
    """The disk may be in another machine; nothing is created in the empty mount point."""
    folder = tmp_path / "pools"
    folder.mkdir()
    make_pool(folder / "a", name="a", capacity_bytes=None, known={})
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [folder])
    await discovery.poll()
    handle = (await manager.create(creation("pvc-1", pool="a"))).manifest.handle
    await manager.create(creation("pvc-2", pool="p"))
    (folder / "a").rename(tmp_path / "away")
    await discovery.poll()
    assert ["pvc-2"] == _handles(manager)
    with pytest.raises(NotFound):
        manager.find(handle)
    with pytest.raises(ResourceExhausted, match=r"no pool is available on this node: .*not mounted"):
        await manager.create(creation("pvc-3", pool="a"))
    assert [] == await manager.trash.all()
    (folder / "a").mkdir()
    await discovery.poll()
    assert [] == list((folder / "a").iterdir())
    (folder / "a").rmdir()
    (tmp_path / "away").rename(folder / "b")
    await discovery.poll()
    assert folder / "b" == manager.find(handle).pool.path


async def test_a_mounted_volume_stays_in_the_catalog_without_its_disk(tmp_path: Path) -> None:
    """Otherwise it could not be unmounted."""
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [])
    entry = await manager.create(creation("pvc-1"))
    entry.record = NodeRecord(staging="/somewhere")
    (tmp_path / "p").rename(tmp_path / "away")
    await discovery.poll()
    assert entry is manager.find(entry.manifest.handle)
    (tmp_path / "away").rename(tmp_path / "p")
    await discovery.poll()
    assert entry is manager.find(entry.manifest.handle)
    assert {} == manager.catalog.missing_pools


async def test_a_copy_of_a_pool_is_refused(tmp_path: Path) -> None:
    """It has the same volumes, and the original cannot be determined."""
    folder = tmp_path / "pools"
    manager, _ = manager_of(tmp_path / "p")
    shutil.copytree(tmp_path / "p", folder / "copy")
    await Discovery(manager, [folder]).poll()
    assert [tmp_path / "p"] == [pool.path for pool in manager.catalog.pools]


async def test_a_copy_of_a_pool_is_neither_read_nor_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a snapshot with millions of files, mounted for inspection."""
    folder = tmp_path / "pools"
    manager, _ = manager_of(tmp_path / "p")
    shutil.copytree(tmp_path / "p", folder / "copy")
    shutil.rmtree(folder / "copy" / "trash")

    def read(pool: Pool) -> None:
        raise AssertionError(pool)

    monkeypatch.setattr(manager, "read_pool", read)
    discovery = Discovery(manager, [folder])
    await discovery.poll()
    assert "one is a copy of the other" in manager.catalog.refused[folder / "copy"]
    assert not (folder / "copy" / "trash").exists()
    await manager.stop()


async def test_a_pool_at_another_path_is_served_from_there_when_nothing_is_mounted_from_the_former_one(
    tmp_path: Path,
) -> None:
    """Until then it is refused with the reason; afterwards the former path is not polled any more."""
    known, folder = tmp_path / "known.json", tmp_path / "pools"
    folder.mkdir()
    manager, _ = manager_of(tmp_path / "p")
    used = await manager.create(creation("used"))
    free = (await manager.create(creation("free"))).manifest.handle
    used.record = NodeRecord(staging="/somewhere")
    known.write_text(json.dumps({str(tmp_path / "p"): used.pool.uuid}), encoding="utf-8")
    (tmp_path / "p").rename(folder / "moved")
    discovery = Discovery(manager, [folder], paths=[tmp_path / "p"], known_file=known)
    for _ in range(2):
        await discovery.poll()
        assert "1 volumes are still mounted from there" in manager.catalog.refused[folder / "moved"]
        assert [each.manifest.id for each in manager.catalog.all()] == ["used"]
    await manager._node._keep(used.manifest.handle, NodeRecord())
    await discovery.poll()
    assert manager.find(free).pool.path == manager.find(used.manifest.handle).pool.path == folder / "moved"
    assert await manager.storage_health() == []
    await manager.stop()


async def test_another_disk_at_the_same_path_is_another_pool(tmp_path: Path) -> None:
    """A replaced disk is never taken for the former one, also with the same pool name; both are reported."""
    folder = tmp_path / "pools"
    folder.mkdir()
    make_pool(folder / "a", name="main", capacity_bytes=None, known={})
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [folder])
    await discovery.poll()
    before = manager.catalog.pools[-1]
    await manager.create(creation("pvc-1", pool="main"))
    shutil.rmtree(folder / "a")
    make_pool(folder / "a", name="main", capacity_bytes=None, known={})
    await discovery.poll()
    assert [] == _handles(manager)
    assert before.uuid in manager.catalog.missing_pools
    made = await manager.create(creation("pvc-2", pool="main"))
    assert made.pool.uuid not in {before.uuid, manager.catalog.pools[0].uuid}


async def test_a_damaged_pool_file_affects_no_other_pool(tmp_path: Path) -> None:
    """It is reported, and the other pools are served."""
    folder = tmp_path / "pools"
    (folder / "bad").mkdir(parents=True)
    (folder / "bad" / "pool.json").write_text("{", encoding="utf-8")
    make_pool(folder / "good", name="good", capacity_bytes=None, known={})
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [folder])
    await discovery.poll()
    await discovery.poll()
    assert ["p", "good"] == [pool.name for pool in manager.catalog.available_pools]


@pytest.mark.parametrize("remembered", [False, True])
async def test_a_path_that_is_not_a_pool_yet_is_polled(tmp_path: Path, *, remembered: bool) -> None:
    """A disk that is mounted later is served without a restart; a wrong disk is not. Both are reported."""
    known = tmp_path / "known.json"
    manager, _ = manager_of(tmp_path / "p")
    late = make_pool(tmp_path / "late", name="late", capacity_bytes=None, known={})
    known.write_text(json.dumps({str(late.path): "another" if remembered else late.uuid}), encoding="utf-8")
    (tmp_path / "late").rename(tmp_path / "away")
    discovery = Discovery(manager, [], paths=[tmp_path / "p", tmp_path / "late"], known_file=known)
    await discovery.poll()
    (problem,) = await manager.storage_health()
    assert (problem.status, problem.reason) == ("STORAGE_UNREACHABLE", "PoolRefused")
    assert "its disk is not mounted" in problem.message
    (tmp_path / "away").rename(tmp_path / "late")
    await discovery.poll()
    assert [pool.name for pool in manager.catalog.available_pools] == (["p"] if remembered else ["p", "late"])
    assert bool(await manager.storage_health()) == remembered
    await manager.stop()


async def test_a_pool_that_cannot_be_read_is_refused_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start and later; EIO of one disk affects no other."""
    manager, _ = manager_of(tmp_path / "p")
    other = make_pool(tmp_path / "other", name="other", capacity_bytes=None, known={})

    def fail(pool: Pool) -> Measured:
        raise OSError(5, f"Input/output error: {pool.name}")

    with monkeypatch.context() as failing:
        failing.setattr("csi.volumes.volume_manager.lower_bound", fail)
        manager.load([other])
        discovery = Discovery(manager, [], paths=[other.path])
        await discovery.poll()
        assert [pool.name for pool in manager.catalog.available_pools] == ["p"]
        assert "Input/output error" in manager.catalog.refused[other.path]
    await discovery.poll()
    assert [pool.name for pool in manager.catalog.available_pools] == ["p", "other"]
    assert manager.catalog.refused == {}
    await manager.stop()


async def test_polling_continues_after_any_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I9: no disk ends the loop that polls for disks."""
    manager, _ = manager_of(tmp_path / "p")
    discovery = Discovery(manager, [])

    def fail(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("csi.volumes.health.location_problem", fail)
    await discovery.poll_safely()
    await manager.stop()


async def test_a_pool_given_by_a_symbolic_link_is_not_a_copy_of_itself(tmp_path: Path) -> None:
    """A state directory below a linked /home is common."""
    manager, _ = manager_of(tmp_path / "p")
    (tmp_path / "link").symlink_to(tmp_path / "p")
    await Discovery(manager, [], paths=[tmp_path / "link"]).poll()

    assert {} == manager.catalog.refused
    assert [] == await manager.storage_health()
    await manager.stop()


@pytest.mark.parametrize("parameters", [{}, {"pool": "p"}])
async def test_the_refusal_without_a_pool_names_the_pools_that_cannot_be_read(
    tmp_path: Path, parameters: dict[str, str]
) -> None:
    """One of them may be the requested pool, so the volume waits for it; the advice is not to create a pool."""
    manager, _ = manager_of(tmp_path / "p")
    pool = manager.catalog.pools[0]
    manager.catalog.refused[pool.path] = "pool.json cannot be read"
    manager.catalog.pools = ()

    with pytest.raises(ResourceExhausted, match=r"pool\.json cannot be read"):
        await manager.create(creation("v", 1 << 20, **parameters))
    await manager.stop()
