"""The figures of a pool add up, and a full pool reports what uses its bytes."""

from pathlib import Path
from typing import Any, cast

import pytest

from csi.errors import ResourceExhausted
from csi.services.inventory import Inventory
from csi.v1 import inventory_pb2
from csi.volumes.ledger import measure
from csi.volumes.requests import Expanding
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.fake_backend import creation, manager_of

MIB = 1 << 20
CAPACITY = 10 * MIB


async def test_the_figures_of_a_pool_add_up_from_delete_to_purge(tmp_path: Path) -> None:
    """Reserved are allocated bytes that are not occupied; a deleted volume frees both at once, and counts as trash."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
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


async def test_a_volume_larger_than_its_size_does_not_reduce_the_reservations_of_others(tmp_path: Path) -> None:
    """Its surplus is not subtracted from their reserved bytes."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", MIB))
    await manager.create(creation("b", MIB))
    (entry.volume_dir / "data").write_bytes(b"x" * 3 * MIB)
    _measure(manager)

    found = await _pool(manager)
    assert found.used_bytes >= 3 * MIB
    assert 0 < found.reserved_bytes < MIB
    await manager.stop()


async def test_a_purge_removes_only_what_was_deleted_before_the_given_time(tmp_path: Path) -> None:
    """A volume that was deleted after the caller listed the trash stays."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
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


async def test_a_full_pool_reports_what_uses_its_bytes_and_the_command_that_lists_it(tmp_path: Path) -> None:
    """Deleting claims does not help where volumes without a PersistentVolume fill the pool."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", 8 * MIB))

    with pytest.raises(ResourceExhausted, match="its volumes have 8Mi of 10Mi, and `mooring"):
        await manager.create(creation("b", 3 * MIB))
    await manager.create(creation("c", MIB))
    with pytest.raises(ResourceExhausted, match="`mooring volumes` lists them"):
        await manager.expand(Expanding(entry.manifest.handle, 10 * MIB, 0))
    await manager.stop()


async def test_a_path_that_should_be_a_pool_and_is_not_served_is_listed_with_its_problem(tmp_path: Path) -> None:
    """It has no UUID, so that it is not taken for a pool; a served pool is listed once, with its problem."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
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
    """Measure at once, also if the pool was measured recently."""
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
