"""Unpublish and unstage need neither the pool's disk nor a record; the mount table shows what is in use."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from csi.backends import backends
from csi.errors import CsiError, FailedPrecondition, InvalidArgument, NotFound
from csi.host import loopdev, mounts
from csi.host.errors import AlreadyMountedError, HostError, UnsafePathError
from csi.volumes.node_record import FOLDER, NodeRecord, Publication
from csi.volumes.pools import Pool, make_pool
from csi.volumes.requests import Capability, Creation, Parameters, Publishing, Staging
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.services.kinds import disk
from tests.unit.csi.services.kubelet import listening

VOLUME = f"v-{os.getpid()}"
"""Of this process alone, as ids are of one volume alone: on a disk that fails a device is known by nothing else."""

pytestmark = pytest.mark.needs("root")
MODE = "SINGLE_NODE_WRITER"


@dataclass
class Place:
    """A pool on its own disk (a tmpfs), and paths to stage and publish at."""

    volume_dir: Path
    pool: Pool

    @property
    def staging(self) -> Path:
        """Return the staging path, which the caller created."""
        return self.volume_dir / "staging"

    @property
    def target(self) -> Path:
        """Return the target path, which the driver creates."""
        return self.volume_dir / "target"

    def manager(self, *pools: Pool) -> VolumeManager:
        """Return a volume manager after a start with these pools."""
        made = VolumeManager(
            backends=backends(), node_id="n", workers=2, purge_seconds=60, state=self.volume_dir / "state"
        )
        made.load(pools)
        return made

    def mounted(self) -> set[str]:
        """Return the mounts below, without the pool's disk."""
        below = {str(each.target) for each in mounts.table() if each.target.is_relative_to(self.volume_dir)}
        return below - {str(self.pool.path)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a place on a tmpfs. Everything below is unmounted at the end."""
    volume_dir = tmp_path.resolve()
    for name in ("disk", "staging", "state"):
        (volume_dir / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(volume_dir / "disk")], check=True)
    try:
        yield Place(volume_dir, make_pool(volume_dir / "disk", name="p", capacity_bytes=None, known={}))
    finally:
        for mount in reversed(mounts.table()):
            if mount.target.is_relative_to(volume_dir):
                subprocess.run(["umount", "-l", str(mount.target)], check=False)


@pytest.fixture
def xfs_place(tmp_path: Path) -> Iterator[Place]:
    """Return a place on xfs, which can be shut down as after an I/O error."""
    volume_dir = tmp_path.resolve()
    for name in ("staging", "state"):
        (volume_dir / name).mkdir()
    with disk(volume_dir / "disk", "xfs", 320 << 20):
        try:
            yield Place(volume_dir, make_pool(volume_dir / "disk", name="p", capacity_bytes=None, known={}))
        finally:
            for mount in reversed(mounts.table()):
                if mount.target.is_relative_to(volume_dir / "staging") or mount.target.is_relative_to(
                    volume_dir / "target"
                ):
                    subprocess.run(["umount", "-l", str(mount.target)], check=False)


async def _mounted(
    manager: VolumeManager, place: Place, *, backend: str = "directory", access_type: str = "mount"
) -> str:
    """Stage and publish a volume; return its handle."""
    use = Capability(access_type, MODE)
    request = Creation(VOLUME, 16 << 20, 0, (use,), Parameters.parse({"backend": backend}))
    handle = (await manager.create(request)).manifest.handle
    await manager.stage(Staging(handle, str(place.staging), use))
    await manager.publish(Publishing(handle, str(place.staging), str(place.target), use, read_only=False))
    return handle


async def _take_away(manager: VolumeManager, place: Place, handle: str) -> None:
    for _ in range(2):
        await manager.unpublish(handle, str(place.target))
    for _ in range(2):
        await manager.unstage(handle, str(place.staging))


def _unmount_disk(place: Place) -> None:
    subprocess.run(["umount", "-l", str(place.pool.path)], check=True)


def _fill(place: Place) -> None:
    with contextlib.suppress(OSError), (place.pool.path / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def _remount_read_only(place: Place) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place.pool.path)], check=True)


def _remove_directory(place: Place) -> None:
    shutil.rmtree(place.pool.volumes / VOLUME)


KINDS = [
    pytest.param("directory", "mount", id="directory"),
    pytest.param("loop", "mount", id="loop", marks=pytest.mark.needs("loop")),
    pytest.param("loop", "block", id="raw", marks=pytest.mark.needs("loop")),
]


@pytest.mark.parametrize("break_disk", [_unmount_disk, _fill, _remove_directory])
@pytest.mark.parametrize(("backend", "access_type"), KINDS)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_a_volume_is_unpublished_and_unstaged_in_any_state_of_its_disk(
    place: Place, backend: str, access_type: str, break_disk: Callable[[Place], None], *, restart: bool
) -> None:
    """Also by a driver that started without the pool and has no record; mounts, devices and mount point are removed."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place, backend=backend, access_type=access_type)
    break_disk(place)
    if restart:
        await manager.stop()
        shutil.rmtree(place.volume_dir / "state" / FOLDER)
        manager = place.manager()

    await _take_away(manager, place, handle)

    assert place.mounted() == set()
    assert loopdev.tagged(loopdev.tag_of(handle)) == []
    assert not place.target.exists()
    assert list((place.volume_dir / "state").glob("*/*.json")) == []
    await manager.stop()


async def test_the_volumes_of_a_read_only_disk_can_be_unmounted(place: Place) -> None:
    """Nothing is written to the disk."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    _remount_read_only(place)
    before = sorted(place.pool.path.rglob("*"))

    await _take_away(manager, place, handle)

    assert place.mounted() == set()
    assert sorted(place.pool.path.rglob("*")) == before
    await manager.stop()


XFS_SHUT_DOWN = 0x8004587D
"""XFS_IOC_GOINGDOWN"""


@pytest.mark.needs("xfs", "loop")
@pytest.mark.parametrize(("backend", "access_type"), KINDS)
async def test_the_volumes_of_a_failed_disk_can_be_unmounted(xfs_place: Place, backend: str, access_type: str) -> None:
    """All calls on its files fail, also those of the kernel on a loop device's image; with and without a record."""
    place = xfs_place
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place, backend=backend, access_type=access_type)
    root = os.open(place.pool.path, os.O_RDONLY)
    try:
        fcntl.ioctl(root, XFS_SHUT_DOWN, struct.pack("=I", 2))
    finally:
        os.close(root)
    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await manager.stop()
    shutil.rmtree(place.volume_dir / "state" / FOLDER)
    manager = place.manager()

    await _take_away(manager, place, handle)

    assert place.mounted() == set()
    assert [
        each for each in loopdev.of_volume(VOLUME, tag=loopdev.tag_of(handle)) if str(place.volume_dir) in each.backing
    ] == []
    await manager.stop()


async def test_a_call_can_be_repeated_after_a_restart_without_the_disk(place: Place) -> None:
    """The response may have been lost: a volume of a pool that this node served counts as unmounted, not as unknown."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    _unmount_disk(place)
    await _take_away(manager, place, handle)
    await manager.stop()
    manager = place.manager()

    await _take_away(manager, place, handle)
    await manager.stop()


async def test_an_unknown_handle_is_not_found(place: Place) -> None:
    """There is no volume, pool, record or mount of that handle."""
    manager = place.manager()
    with pytest.raises(NotFound):
        await manager.unpublish("11111111-1111-1111-1111-111111111111.v", str(place.target))
    await manager.stop()


@pytest.mark.parametrize("lost", [None, b"\0" * 200, b"{}"])
async def test_a_mounted_volume_is_in_use_regardless_of_its_record(place: Place, lost: bytes | None) -> None:
    """A mounted volume cannot be deleted, also if its record is lost, torn or empty."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    await manager.stop()
    record = place.volume_dir / "state" / FOLDER / f"{handle}.json"
    record.unlink() if lost is None else record.write_bytes(lost)
    manager = place.manager(place.pool)

    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await _take_away(manager, place, handle)
    await manager.delete(handle)
    assert place.mounted() == set()
    await manager.stop()


async def test_an_unstage_with_another_path_leaves_the_volume_staged(place: Place) -> None:
    """The call succeeds, as it is not staged there; it stays staged at its path, and is not deleted."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    await manager.unpublish(handle, str(place.target))
    await manager.unstage(handle, str(place.volume_dir / "other"))

    assert place.mounted() == {str(place.staging)}
    with pytest.raises(FailedPrecondition, match="in use at"):
        await manager.delete(handle)
    await manager.unstage(handle, str(place.staging))
    await manager.delete(handle)
    await manager.stop()


@pytest.mark.needs("loop")
async def test_a_raw_volume_is_in_use_while_a_loop_device_is_attached_to_its_image(place: Place) -> None:
    """An open device needs neither a mount nor a record."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place, backend="loop", access_type="block")
    await manager.stop()
    shutil.rmtree(place.volume_dir / "state" / FOLDER)
    manager = place.manager(place.pool)
    await manager.unpublish(handle, str(place.target))

    with pytest.raises(FailedPrecondition, match="in use at /dev/loop"):
        await manager.delete(handle)
    await manager.unstage(handle, str(place.staging))
    await manager.delete(handle)
    await manager.stop()


async def test_a_path_that_was_never_a_target_is_not_removed(place: Place) -> None:
    """An unpublish removes only mount points that the driver created."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    await _take_away(manager, place, handle)
    (place.volume_dir / "file").write_text("precious", encoding="utf-8")
    (place.volume_dir / "empty").touch()
    (place.volume_dir / "folder").mkdir()
    (place.volume_dir / "link").symlink_to(place.volume_dir / "file")
    os.mkfifo(place.volume_dir / "fifo")
    paths = [
        place.volume_dir / name
        for name in ("file", "empty", "folder", "link", "fifo", "disk", "state", "disk/pool.json", "csi.sock")
    ]
    with contextlib.closing(listening(place.volume_dir / "csi.sock")):
        for path in paths:
            with contextlib.suppress(UnsafePathError, AlreadyMountedError):
                await manager.unpublish(handle, str(path))

    assert [path for path in paths if not os.path.lexists(path)] == []
    assert place.pool.path.is_mount()
    await manager.stop()


@pytest.mark.parametrize("name", ["disk", "disk/volumes", "disk/volumes/VOLUME", "state", "."])
async def test_nothing_is_mounted_over_the_drivers_own_directories(place: Place, name: str) -> None:
    """Nor inside a pool, nor over a directory that contains one; the refusal leaves no mount."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    before = place.mounted()
    use, path = Capability("mount", MODE), str(place.volume_dir / name.replace("VOLUME", VOLUME)).removesuffix("/.")
    with pytest.raises(InvalidArgument, match="driver's own"):
        await manager.publish(Publishing(handle, str(place.staging), path, use, read_only=False))
    await _take_away(manager, place, handle)
    with pytest.raises(InvalidArgument, match="driver's own"):
        await manager.stage(Staging(handle, path, use))

    assert place.mounted() | {str(place.staging), str(place.target)} == before
    await manager.stop()


async def test_no_mount_follows_a_symbolic_link(place: Place) -> None:
    """It may lead to the driver's own directories; both calls refuse it, and nothing is mounted."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    before, use, link = place.mounted(), Capability("mount", MODE), place.volume_dir / "link"
    link.symlink_to(place.pool.path)
    with pytest.raises(UnsafePathError):
        await manager.publish(Publishing(handle, str(place.staging), str(link), use, read_only=False))
    await _take_away(manager, place, handle)
    with pytest.raises(InvalidArgument):
        await manager.stage(Staging(handle, str(link), use))

    assert place.mounted() | {str(place.staging), str(place.target)} == before
    assert link.is_symlink()
    await manager.stop()


async def test_a_mount_never_hides_files_and_a_refused_target_stays_as_it_is(place: Place) -> None:
    """A target that contains files is refused; the following unpublish removes nothing."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    other = place.volume_dir / "etc"
    other.mkdir()
    (other / "passwd").touch()
    with pytest.raises(UnsafePathError, match="not empty"):
        await manager.publish(
            Publishing(handle, str(place.staging), str(other), Capability("mount", MODE), read_only=False)
        )
    with pytest.raises(HostError):
        await manager.unpublish(handle, str(other))

    assert (other / "passwd").exists()
    await _take_away(manager, place, handle)
    await manager.stop()


async def test_records_of_a_former_version_are_read_once(place: Place) -> None:
    """They are moved out of the pool when the volume is first read."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    await manager.stop()
    shutil.rmtree(place.volume_dir / "state" / FOLDER)
    former = NodeRecord(str(place.staging), (), (Publication(str(place.target), read_only=False, mode=MODE),))
    (place.pool.volumes / VOLUME / "node.json").write_bytes(msgspec.json.encode(former))
    manager = place.manager(place.pool)

    assert not (place.pool.volumes / VOLUME / "node.json").exists()
    with pytest.raises(FailedPrecondition, match="still published"):
        await manager.unstage(handle, str(place.staging))
    await _take_away(manager, place, handle)
    await manager.stop()


async def test_after_a_reboot_a_mount_point_is_still_removed(place: Place) -> None:
    """The reboot removed the mounts; the record has the mount points that the driver created."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    await manager.stop()
    for path in (place.target, place.staging):
        mounts.unmount(path)
    record = place.volume_dir / "state" / FOLDER / f"{handle}.json"
    before = msgspec.json.decode(record.read_bytes(), type=NodeRecord)
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(before, boot="another")))
    manager = place.manager(place.pool)

    assert manager.find(handle).record.staging == ""
    await _take_away(manager, place, handle)
    assert not place.target.exists()
    await manager.stop()


async def test_the_mount_of_another_volume_is_not_removed(place: Place) -> None:
    """Also if the other volume has the same id in another pool, and the named one does not exist any more."""
    manager = place.manager(place.pool)
    handle = await _mounted(manager, place)
    stranger = f"11111111-1111-1111-1111-111111111111.{handle.partition('.')[2]}"
    with pytest.raises((CsiError, HostError)):
        await manager.unpublish(stranger, str(place.target))

    assert str(place.target) in place.mounted()
    await _take_away(manager, place, handle)
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
