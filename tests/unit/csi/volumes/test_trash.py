"""A deletion can be undone until the purge, which removes only expired entries and never fails a list."""

import os
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from csi.errors import (
    Internal,
    InvalidArgument,
    NotFound,
)
from csi.host import files
from csi.services.inventory import Inventory
from csi.v1 import inventory_pb2
from csi.volumes import manifest as manifests
from csi.volumes.ledger import SHARE, Measured
from csi.volumes.requests import MAX_RETENTION
from csi.volumes.trash_names import PURGING
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.fake_backend import creation, manager_of

MIB = 1 << 20


CAPACITY = 10 * MIB


async def test_trash_is_purged_oldest_first_when_the_disk_is_full(tmp_path: Path) -> None:
    """Trash counts as free, so a new volume may need its bytes."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    for number, name in enumerate(("old", "new")):
        entry = await manager.create(creation(name, MIB))
        await manager.delete(entry.manifest.handle)
        (trashed,) = [each for each in (tmp_path / "p" / "trash").iterdir() if each.name.startswith(name)]
        trashed.rename(trashed.with_name(f"{name}.{1000 + number}"))
    backend.no_space = 1

    await manager.create(creation("a", 65536))

    assert [each.manifest.name for each in await manager.trash.all()] == ["new"]
    await manager.stop()


async def test_trash_is_purged_after_its_retention_and_not_before(tmp_path: Path) -> None:
    """Each volume has a retention of its own."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    for name, kept in (("short", "0s"), ("long", "24h")):
        entry = await manager.create(creation(name, MIB, trashRetention=kept))
        await manager.delete(entry.manifest.handle)

    assert await manager.trash.purge_expired() == 1
    assert [each.manifest.name for each in await manager.trash.all()] == ["long"]
    await manager.stop()


async def test_an_interrupted_purge_is_finished_and_never_undone(tmp_path: Path) -> None:
    """A partly removed volume is never restored."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a"))
    await manager.delete(entry.manifest.handle)
    (trashed,) = (tmp_path / "p" / "trash").iterdir()
    trashed.rename(trashed.with_name(PURGING + trashed.name))

    with pytest.raises(NotFound):
        await manager.undelete(entry.manifest.handle)
    await manager.trash.purge_expired()
    assert list((tmp_path / "p" / "trash").iterdir()) == []
    await manager.stop()


async def test_a_purge_follows_no_symbolic_link(tmp_path: Path) -> None:
    """A tenant can create any link in a volume."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a"))
    (entry.volume_dir / "link").symlink_to(outside)
    (entry.volume_dir / "deep" / "er").mkdir(parents=True)
    (entry.volume_dir / "deep" / "er" / "up").symlink_to("../../../../..")
    await manager.delete(entry.manifest.handle)

    assert await manager.trash.purge() == 1
    assert (outside / "precious").exists()
    await manager.stop()


@pytest.mark.parametrize("name", ["odd", "odd.x", "odd.99999999999999999999", "a.1", ".1", "link.1", "pipe.1"])
async def test_an_invalid_entry_of_the_trash_is_not_changed_and_fails_no_list(tmp_path: Path, name: str) -> None:
    """I9: the others are listed and purged, and the bytes of an invalid entry do not count as free."""
    manager, _ = manager_of(tmp_path / "p")
    entry = await manager.create(creation("a"))
    await manager.delete(entry.manifest.handle)
    trash = tmp_path / "p" / "trash"
    (trash / name).mkdir()
    if name == "link.1":
        (trash / name / "manifest.json").symlink_to("/dev/zero")
    elif name == "pipe.1":
        os.mkfifo(trash / name / "manifest.json")

    answer = await _list_trash(manager)
    assert [each.manifest.csi_name for each in answer.entries] == ["a"]
    assert await manager.trash.purge() == 1
    assert [each.name for each in trash.iterdir()] == [name]
    await manager.stop()


async def test_a_retention_of_any_length_fails_no_list(tmp_path: Path) -> None:
    """Former versions accepted longer ones than the maximum; they count as the maximum."""
    manager, _ = manager_of(tmp_path / "p")
    for text in ("99999999999999999999h", "9" * 5000 + "h", "1000000h"):
        with pytest.raises(InvalidArgument, match="trashRetention"):
            creation("a", trashRetention=text)
        entry = await manager.create(creation("a"))
        changed = msgspec.structs.replace(entry.manifest, mutable_parameters={"trashRetention": text})
        manifests.write(entry.volume_dir, changed)
        await manager.delete(entry.manifest.handle)

        (listed,) = (await _list_trash(manager)).entries
        assert listed.purge_after.seconds - listed.deleted.seconds == MAX_RETENTION
        await manager.trash.purge()
    await manager.stop()


async def _list_trash(manager: VolumeManager) -> inventory_pb2.ListTrashResponse:
    inventory: Any = Inventory(manager)
    return cast("inventory_pb2.ListTrashResponse", await inventory.ListTrash(inventory_pb2.ListTrashRequest(), None))


async def test_a_failed_purge_is_an_error_and_its_bytes_are_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets the error, the next round repeats it, and its bytes are not reserved for another volume."""
    manager, _ = manager_of(tmp_path / "p")
    (pool,) = manager.catalog.pools
    entry = await manager.create(creation("a"))
    await manager.delete(entry.manifest.handle)
    with monkeypatch.context() as failing:
        failing.setattr(files, "remove_tree", _refuse)
        with pytest.raises(Internal, match="Operation not permitted"):
            await manager.trash.purge(entry.manifest.handle)
        await manager.measuring.round()
        assert manager.ledger.trash(pool) == 0
        with pytest.raises(Internal):
            await manager.trash.purge()

    await manager.trash.purge_expired()
    assert (list(pool.trash.iterdir()), manager.catalog.unremovable) == ([], set())
    await manager.stop()


@pytest.mark.parametrize("measured_as", ["trash", "a volume"])
async def test_trash_that_cannot_be_removed_counts_as_used_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured_as: str
) -> None:
    """I4: at once, before the next measurement and after any earlier one; free again once it is removed."""
    manager, _ = manager_of(tmp_path / "p")
    (pool,) = manager.catalog.pools
    entry = await manager.create(creation("a"))

    def note(*, trashed: bool) -> None:
        names = {path.name: 50 * MIB for path in pool.trash.iterdir()} if trashed else {}
        manager.ledger.note(pool, Measured(100 * MIB, 60 * MIB, {} if trashed else {"a": 50 * MIB}, names))

    note(trashed=False)
    await manager.delete(entry.manifest.handle)
    (trashed,) = pool.trash.iterdir()
    note(trashed=True) if measured_as == "trash" else None
    assert manager.ledger.capacity(pool) == 150 * MIB * SHARE // 100
    with monkeypatch.context() as failing:
        failing.setattr(files, "remove_tree", _refuse)
        with pytest.raises(Internal):
            await manager.trash.purge()
        assert (manager.ledger.capacity(pool), manager.ledger.trash(pool)) == (100 * MIB * SHARE // 100, 0)
    manager.ledger.note(pool, Measured(100 * MIB, 60 * MIB, {}, {f".purging-{trashed.name}": 50 * MIB}))
    assert manager.ledger.capacity(pool) == 100 * MIB * SHARE // 100
    (pool.trash / f".purging-{trashed.name}").rename(tmp_path / "by-hand")
    await manager.trash.purge_expired()
    assert manager.catalog.unremovable == set()
    await manager.stop()


def _refuse(root: Path, path: Path) -> None:
    raise OSError(1, f"Operation not permitted: {path} in {root}")


async def test_a_volume_with_anything_in_place_of_its_node_record_can_be_deleted(tmp_path: Path) -> None:
    """It can also be restored and purged."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a"))
    (entry.volume_dir / "node.json").mkdir()
    await manager.delete(entry.manifest.handle)
    await manager.undelete(entry.manifest.handle)
    await manager.delete(entry.manifest.handle)

    assert await manager.trash.purge() == 1
    await manager.stop()


async def test_a_trashed_volume_of_another_driver_is_listed(tmp_path: Path) -> None:
    """It is listed also if its backend is unknown to this driver."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a"))
    manifests.write(entry.volume_dir, msgspec.structs.replace(entry.manifest, backend="zvol"))
    await manager.delete(entry.manifest.handle)

    (listed,) = (await _list_trash(manager)).entries
    assert listed.manifest.backend == "zvol"
    await manager.stop()
