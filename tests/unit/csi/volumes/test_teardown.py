"""Unpublish and unstage need neither the pool's disk nor a record; the mount table shows what is in use."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from csi.errors import CsiError, FailedPrecondition, NotFound
from csi.host import loopdev, mounts
from csi.host.errors import HostError
from csi.volumes.node_record import FOLDER, NodeRecord, Publication
from tests.unit.csi.volumes.pool_disk import MODE, VOLUME, PoolDisk, mounted, unmount

pytestmark = pytest.mark.needs("root")


def _unmount_disk(pool_disk: PoolDisk) -> None:
    subprocess.run(["umount", "-l", str(pool_disk.pool.path)], check=True)


def _fill(pool_disk: PoolDisk) -> None:
    with contextlib.suppress(OSError), (pool_disk.pool.path / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def _remount_read_only(pool_disk: PoolDisk) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(pool_disk.pool.path)], check=True)


def _remove_directory(pool_disk: PoolDisk) -> None:
    shutil.rmtree(pool_disk.pool.volumes / VOLUME)


KINDS = [
    pytest.param("directory", "mount", id="directory"),
    pytest.param("loop", "mount", id="loop", marks=pytest.mark.needs("loop")),
    pytest.param("loop", "block", id="raw", marks=pytest.mark.needs("loop")),
]


@pytest.mark.parametrize("break_disk", [_unmount_disk, _fill, _remove_directory])
@pytest.mark.parametrize(("backend", "access_type"), KINDS)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_a_volume_is_unpublished_and_unstaged_in_any_state_of_its_disk(
    pool_disk: PoolDisk, backend: str, access_type: str, break_disk: Callable[[PoolDisk], None], *, restart: bool
) -> None:
    """Also by a driver that started without the pool and has no record; mounts, devices and mount point are removed."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk, backend=backend, access_type=access_type)
    break_disk(pool_disk)
    if restart:
        await manager.stop()
        shutil.rmtree(pool_disk.base_dir / "state" / FOLDER)
        manager = pool_disk.manager()

    await unmount(manager, pool_disk, handle)

    assert pool_disk.mounted() == set()
    assert loopdev.tagged(loopdev.tag_of(handle)) == []
    assert not pool_disk.target.exists()
    assert list((pool_disk.base_dir / "state").glob("*/*.json")) == []
    await manager.stop()


async def test_the_volumes_of_a_read_only_disk_can_be_unmounted(pool_disk: PoolDisk) -> None:
    """Nothing is written to the disk."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    _remount_read_only(pool_disk)
    before = sorted(pool_disk.pool.path.rglob("*"))

    await unmount(manager, pool_disk, handle)

    assert pool_disk.mounted() == set()
    assert sorted(pool_disk.pool.path.rglob("*")) == before
    await manager.stop()


XFS_SHUT_DOWN = 0x8004587D
"""XFS_IOC_GOINGDOWN"""


@pytest.mark.needs("xfs", "loop")
@pytest.mark.parametrize(("backend", "access_type"), KINDS)
async def test_the_volumes_of_a_failed_disk_can_be_unmounted(
    xfs_disk: PoolDisk, backend: str, access_type: str
) -> None:
    """All calls on its files fail, also those of the kernel on a loop device's image; with and without a record."""
    pool_disk = xfs_disk
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk, backend=backend, access_type=access_type)
    root = os.open(pool_disk.pool.path, os.O_RDONLY)
    try:
        fcntl.ioctl(root, XFS_SHUT_DOWN, struct.pack("=I", 2))
    finally:
        os.close(root)
    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await manager.stop()
    shutil.rmtree(pool_disk.base_dir / "state" / FOLDER)
    manager = pool_disk.manager()

    await unmount(manager, pool_disk, handle)

    assert pool_disk.mounted() == set()
    assert [
        each
        for each in loopdev.of_volume(VOLUME, tag=loopdev.tag_of(handle))
        if str(pool_disk.base_dir) in each.backing
    ] == []
    await manager.stop()


async def test_a_call_can_be_repeated_after_a_restart_without_the_disk(pool_disk: PoolDisk) -> None:
    """The response may have been lost: a volume of a pool that this node served counts as unmounted, not as unknown."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    _unmount_disk(pool_disk)
    await unmount(manager, pool_disk, handle)
    await manager.stop()
    manager = pool_disk.manager()

    await unmount(manager, pool_disk, handle)
    await manager.stop()


async def test_an_unknown_handle_is_not_found(pool_disk: PoolDisk) -> None:
    """There is no volume, pool, record or mount of that handle."""
    manager = pool_disk.manager()
    with pytest.raises(NotFound):
        await manager.unpublish("11111111-1111-1111-1111-111111111111.v", str(pool_disk.target))
    await manager.stop()


@pytest.mark.parametrize("lost", [None, b"\0" * 200, b"{}"])
async def test_a_mounted_volume_is_in_use_regardless_of_its_record(pool_disk: PoolDisk, lost: bytes | None) -> None:
    """A mounted volume cannot be deleted, also if its record is lost, torn or empty."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    await manager.stop()
    record = pool_disk.base_dir / "state" / FOLDER / f"{handle}.json"
    record.unlink() if lost is None else record.write_bytes(lost)
    manager = pool_disk.manager(pool_disk.pool)

    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await unmount(manager, pool_disk, handle)
    await manager.delete(handle)
    assert pool_disk.mounted() == set()
    await manager.stop()


async def test_an_unstage_with_another_path_leaves_the_volume_staged(pool_disk: PoolDisk) -> None:
    """The call succeeds, as it is not staged there; it stays staged at its path, and is not deleted."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    await manager.unpublish(handle, str(pool_disk.target))
    await manager.unstage(handle, str(pool_disk.base_dir / "other"))

    assert pool_disk.mounted() == {str(pool_disk.staging)}
    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await manager.unstage(handle, str(pool_disk.staging))
    await manager.delete(handle)
    await manager.stop()


@pytest.mark.needs("loop")
async def test_a_raw_volume_is_in_use_while_a_loop_device_is_attached_to_its_image(pool_disk: PoolDisk) -> None:
    """An open device needs neither a mount nor a record."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk, backend="loop", access_type="block")
    await manager.stop()
    shutil.rmtree(pool_disk.base_dir / "state" / FOLDER)
    manager = pool_disk.manager(pool_disk.pool)
    await manager.unpublish(handle, str(pool_disk.target))

    with pytest.raises(FailedPrecondition, match="in use at /dev/loop"):
        await manager.delete(handle)
    await manager.unstage(handle, str(pool_disk.staging))
    await manager.delete(handle)
    await manager.stop()


async def test_records_of_a_former_version_are_read_once(pool_disk: PoolDisk) -> None:
    """They are moved out of the pool when the volume is first read."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    await manager.stop()
    shutil.rmtree(pool_disk.base_dir / "state" / FOLDER)
    former = NodeRecord(str(pool_disk.staging), (), (Publication(str(pool_disk.target), read_only=False, mode=MODE),))
    (pool_disk.pool.volumes / VOLUME / "node.json").write_bytes(msgspec.json.encode(former))
    manager = pool_disk.manager(pool_disk.pool)

    assert not (pool_disk.pool.volumes / VOLUME / "node.json").exists()
    with pytest.raises(FailedPrecondition, match="still published"):
        await manager.unstage(handle, str(pool_disk.staging))
    await unmount(manager, pool_disk, handle)
    await manager.stop()


async def test_after_a_reboot_a_mount_point_is_still_removed(pool_disk: PoolDisk) -> None:
    """The reboot removed the mounts; the record has the mount points that the driver created."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    await manager.stop()
    for path in (pool_disk.target, pool_disk.staging):
        mounts.unmount(path)
    record = pool_disk.base_dir / "state" / FOLDER / f"{handle}.json"
    before = msgspec.json.decode(record.read_bytes(), type=NodeRecord)
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(before, boot="another")))
    manager = pool_disk.manager(pool_disk.pool)

    assert manager.find(handle).record.staging == ""
    await unmount(manager, pool_disk, handle)
    assert not pool_disk.target.exists()
    await manager.stop()


async def test_the_mount_of_another_volume_is_not_removed(pool_disk: PoolDisk) -> None:
    """Also if the other volume has the same id in another pool, and the named one does not exist any more."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    stranger = f"11111111-1111-1111-1111-111111111111.{handle.partition('.')[2]}"
    with pytest.raises((CsiError, HostError)):
        await manager.unpublish(stranger, str(pool_disk.target))

    assert str(pool_disk.target) in pool_disk.mounted()
    await unmount(manager, pool_disk, handle)
    await manager.stop()


def test_an_error_of_stat_never_reads_as_not_mounted(tmp_path: Path) -> None:
    """A filesystem that does not respond any more is still mounted, and can be unmounted."""
    target = tmp_path.resolve() / "dead"
    target.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = [f"fd={server}", "rootmode=40000", "user_id=0", "group_id=0"]
        mounts.mount("dead", target, fs_type="fuse", options=options)
    finally:
        os.close(server)
    try:
        with pytest.raises(OSError, match="not connected"):
            target.stat()
        assert mounts.is_mount(target)
        assert mounts.at(target) is not None
    finally:
        mounts.unmount(target)
    assert not mounts.is_mount(target)
    assert not mounts.is_mount(target / "missing")
