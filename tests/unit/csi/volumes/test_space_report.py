"""What the driver reports about the space of its pools: figures that add up, and what takes it when there is none."""

from pathlib import Path
from typing import Any, cast

import pytest

from csi.errors import ResourceExhausted
from csi.services.inventory import Inventory
from csi.v1 import inventory_pb2
from csi.volumes.ledger import measure
from csi.volumes.requests import Expanding
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.engines import creation, engine_of

MIB = 1 << 20
CAPACITY = 10 * MIB


async def test_what_a_pool_is_asked_to_report_adds_up_from_delete_to_purge(tmp_path: Path) -> None:
    """Reserved is what was promised and is not occupied; a deleted volume gives back both at once, and counts as trash."""
    manager, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    assert not (await _pool(manager)).HasField("used_bytes"), "nothing was measured yet"
    entry = await manager.create(creation("a", MIB))
    _measure(manager)
    before = await _pool(manager)
    assert before.used_bytes >= 65536
    assert (before.allocated_bytes, before.reserved_bytes) == (MIB, MIB - before.used_bytes)
    (listed,) = (await _list_manifests(manager)).manifests
    assert listed.stored_bytes == before.used_bytes

    await manager.delete(entry.manifest.handle)
    deleted = await _pool(manager)
    assert (deleted.allocated_bytes, deleted.used_bytes, deleted.reserved_bytes) == (0, 0, 0)
    assert (deleted.trash_bytes, deleted.available_bytes) == (before.used_bytes, CAPACITY)
    assert (await _list_trash(manager)).entries[0].stored_bytes == before.used_bytes

    await manager.undelete(entry.manifest.handle)
    assert await _pool(manager) == before
    await manager.stop()


async def test_a_volume_that_has_more_than_it_was_promised_reserves_nothing_for_others(tmp_path: Path) -> None:
    """Its surplus does not lessen what is kept for the others."""
    manager, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", MIB))
    await manager.create(creation("b", MIB))
    (entry.volume_dir / "data").write_bytes(b"x" * 3 * MIB)
    _measure(manager)

    found = await _pool(manager)
    assert found.used_bytes >= 3 * MIB
    assert 0 < found.reserved_bytes < MIB
    await manager.stop()


async def test_a_purge_takes_only_what_was_deleted_before_the_moment_that_it_names(tmp_path: Path) -> None:
    """What came into the trash after the caller looked is not what it meant."""
    manager, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    trash = tmp_path / "p" / "trash"
    for moment in (1000, 2000):
        entry = await manager.create(creation("a"))
        await manager.delete(entry.manifest.handle)
        (latest,) = [each for each in trash.iterdir() if not each.name.endswith(".1000")]
        latest.rename(trash / f"a.{moment}")
    request = inventory_pb2.PurgeRequest(volume_id=entry.manifest.handle)

    for moment, purged, left in ((999, 0, ["a.1000", "a.2000"]), (1000, 1, ["a.2000"])):
        request.deleted_before.seconds = moment
        assert (await _inventory(manager).Purge(request, None)).purged == purged
        assert sorted(each.name for each in trash.iterdir()) == left
    await manager.stop()


async def test_a_full_pool_says_what_takes_its_bytes_and_what_lists_it(tmp_path: Path) -> None:
    """Deleting claims helps nobody whose pool is full of volumes that no PersistentVolume stands for."""
    manager, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", 8 * MIB))

    with pytest.raises(ResourceExhausted, match="its volumes have 8Mi of 10Mi, and `mooring"):
        await manager.create(creation("b", 3 * MIB))
    await manager.create(creation("c", MIB))
    with pytest.raises(ResourceExhausted, match="`mooring volumes` lists them"):
        await manager.expand(Expanding(entry.manifest.handle, 10 * MIB, 0))
    await manager.stop()


async def test_a_path_that_should_be_a_pool_and_is_not_served_is_listed_with_its_problem(tmp_path: Path) -> None:
    """Without a UUID, so that nobody takes it for one; a pool that is served is listed once, with what is wrong."""
    manager, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    (tmp_path / "p" / "volumes" / "odd").symlink_to("/nowhere")
    manager.admit(*manager.read_pool(manager.catalog.pools[0]))
    manager.catalog.refused = {tmp_path / "gone": "its disk is not mounted", tmp_path / "p": "it was away before"}

    found = (await _inventory(manager).ListPools(inventory_pb2.ListPoolsRequest(), None)).pools
    assert [(each.name, bool(each.uuid), each.problem) for each in found] == [
        ("p", True, ""),
        ("gone", False, "its disk is not mounted"),
    ]
    assert "1 manifests cannot be read" in found[0].issues[0]
    await manager.stop()


def _measure(manager: VolumeManager) -> None:
    """At once, while a round may still rest from the last one."""
    (pool,) = manager.catalog.pools
    manager.ledger.note(pool, measure(pool))


def _inventory(manager: VolumeManager) -> Any:
    return Inventory(manager)


async def _pool(manager: VolumeManager) -> inventory_pb2.Pool:
    (found,) = (await _inventory(manager).ListPools(inventory_pb2.ListPoolsRequest(), None)).pools
    return cast("inventory_pb2.Pool", found)


async def _list_manifests(manager: VolumeManager) -> inventory_pb2.ListManifestsResponse:
    answer = await _inventory(manager).ListManifests(inventory_pb2.ListManifestsRequest(), None)
    return cast("inventory_pb2.ListManifestsResponse", answer)


async def _list_trash(manager: VolumeManager) -> inventory_pb2.ListTrashResponse:
    inventory: Any = Inventory(manager)
    return cast("inventory_pb2.ListTrashResponse", await inventory.ListTrash(inventory_pb2.ListTrashRequest(), None))
