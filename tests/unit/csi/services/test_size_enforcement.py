"""The kernel refuses writes past a volume's size where the driver reports the size as enforced."""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest

from csi.v1 import csi_pb2, inventory_pb2
from tests.unit.csi.services.driver import Driver
from tests.unit.csi.services.kinds import BTRFS, DIRECTORY, EXT4, MIB, RAW, SUBVOLUME, XFS, Kind, each, serving


def _write_past_the_end(path: Path, size: int) -> int:
    """Return the errno that ends the writes; 0 if none does."""
    try:
        descriptor = os.open(path, os.O_WRONLY | (0 if path.is_block_device() else os.O_CREAT))
    except OSError as error:
        return error.errno or 0
    try:
        for _ in range(size // MIB + 2):
            os.write(descriptor, b"x" * MIB)
        os.fsync(descriptor)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(descriptor)
    return 0


@pytest.mark.parametrize("provisioning", ["thin", "thick"])
@each(EXT4, XFS, BTRFS, RAW)
def test_a_write_past_the_size_of_a_loop_volume_fails(tmp_path: Path, kind: Kind, provisioning: str) -> None:
    """The error is ENOSPC, while the pool's disk has free space."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver, provisioning=provisioning)
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use)
        error_number = _write_past_the_end(path if kind is RAW else path / "big", kind.size)

        assert error_number == errno.ENOSPC
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(SUBVOLUME)
def test_a_write_past_the_size_of_a_directory_on_btrfs_fails(tmp_path: Path, kind: Kind) -> None:
    """The error is EDQUOT; the stats are those of the quota, and a purge removes the quota groups."""
    with serving(tmp_path, kind) as driver:
        volume = driver.create(size=kind.size)
        handle = volume.volume_id
        driver.stage(handle)
        path = driver.publish(handle)
        error_number = _write_past_the_end(path / "big", kind.size)
        os.sync()
        usage = driver.stats(handle, path)

        assert (error_number, volume.volume_context["mooring.dev/size"]) == (errno.EDQUOT, "enforced")
        assert usage["BYTES"].total == kind.size
        assert kind.size - 2 * MIB < usage["BYTES"].used <= kind.size
        assert set(usage) == {"BYTES"}, "btrfs has no number of inodes"
        (path / "big").unlink()
        os.sync()
        subprocess.run(["btrfs", "subvolume", "create", str(path / "nested")], check=True, capture_output=True)
        (path / "nested" / "file").touch()
        driver.unpublish(handle, path)
        driver.unstage(handle)
        assert len(_quota_groups(driver)) == 4
        driver.delete(handle)
        driver.inventory.Purge(inventory_pb2.PurgeRequest(all=True))
        os.sync()
        assert _quota_groups(driver) == ["0/5"]
        assert list((driver.pool / "trash").iterdir()) == []


def _quota_groups(driver: Driver) -> list[str]:
    listed = subprocess.run(["btrfs", "qgroup", "show", str(driver.pool)], check=True, capture_output=True, text=True)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.startswith(("0/", "1/"))]


def _create_subvolume(path: Path, *groups: int) -> None:
    """Create a subvolume as `btrfs subvolume create` does, but in the given quota groups instead of its parent's."""
    inherit = struct.pack(f"=4Q5Q{len(groups)}Q", 0, len(groups), *[0] * 7, *groups)
    buffer = ctypes.create_string_buffer(inherit, len(inherit))
    argument = struct.pack("=qQQQQ16x4040s", 0, 0, 4, len(inherit), ctypes.addressof(buffer), os.fsencode(path.name))
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.ioctl(parent, 0x50009418, bytearray(argument))
    finally:
        os.close(parent)


@each(SUBVOLUME)
def test_subvolumes_that_a_pod_creates_in_its_volume_count_towards_its_size(tmp_path: Path, kind: Kind) -> None:
    """Neither a subvolume nor a snapshot nor one inside it can exceed the size; a full volume can be expanded."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.stage(handle)
        path = driver.publish(handle)
        deeper = path / "nested" / "directory" / "deeper"
        subprocess.run(["btrfs", "subvolume", "create", str(path / "nested")], check=True, capture_output=True)
        deeper.parent.mkdir()
        subprocess.run(["btrfs", "subvolume", "create", str(deeper)], check=True, capture_output=True)

        assert _write_past_the_end(deeper / "big", kind.size) == errno.EDQUOT
        assert _write_past_the_end(path / "nested" / "big", kind.size) == errno.EDQUOT
        os.sync()
        used = driver.stats(handle, path)["BYTES"].used
        assert kind.size - 2 * MIB < used <= kind.size
        assert driver.expand(handle, 2 * kind.size).capacity_bytes == 2 * kind.size
        (deeper / "more").write_bytes(b"x" * 8 * MIB)
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(SUBVOLUME)
def test_a_subvolume_created_in_other_groups_is_assigned_to_its_volumes(tmp_path: Path, kind: Kind) -> None:
    """The kernel lets it leave the volume's group, or join another volume's, until the volume's stats are read."""
    with serving(tmp_path, kind) as driver:
        handle, neighbour = kind.create(driver), kind.create(driver, "neighbour")
        for each_ in (handle, neighbour):
            driver.stage(each_)
        path, other = driver.publish(handle), driver.publish(neighbour)
        before = driver.stats(neighbour, other)["BYTES"].used
        (other_group,) = [int(group[2:]) for group in _quota_groups(driver) if group.startswith("1/")][1:]
        _create_subvolume(path / "free")
        _create_subvolume(path / "foreign", 1 << 48 | other_group)
        for name in ("free", "foreign"):
            (path / name / "file").write_bytes(b"x" * 4 * MIB)
        os.sync()

        assert driver.stats(handle, path)["BYTES"].used >= 8 * MIB
        assert driver.stats(neighbour, other)["BYTES"].used == before
        assert _write_past_the_end(path / "free" / "big", kind.size) == errno.EDQUOT
        for each_, where in ((handle, path), (neighbour, other)):
            driver.unpublish(each_, where)
            driver.unstage(each_)


@pytest.mark.limit("directory-size")
@each(SUBVOLUME)
def test_with_ordinary_quotas_a_size_is_only_accounted(tmp_path: Path, kind: Kind) -> None:
    """They do not limit nested subvolumes, exclude simple quotas, and may be used by others, so they stay enabled."""
    with serving(tmp_path, kind) as driver:
        subprocess.run(["btrfs", "quota", "enable", str(driver.pool)], check=True, capture_output=True)
        volume = driver.create(size=kind.size)
        driver.stage(volume.volume_id)
        path = driver.publish(volume.volume_id)

        assert volume.volume_context["mooring.dev/size"] == "accounted"
        assert _write_past_the_end(path / "big", kind.size) == 0
        (mode,) = [each.read_text(encoding="ascii") for each in Path("/sys/fs/btrfs").glob("*/qgroups/mode")]
        assert mode == "qgroup\n"
        driver.unpublish(volume.volume_id, path)
        driver.unstage(volume.volume_id)


@each(DIRECTORY)
def test_an_accounted_directory_is_unhealthy_when_it_exceeds_its_size(tmp_path: Path, kind: Kind) -> None:
    """The write succeeds; health reports it until the volume is expanded."""
    with serving(tmp_path, kind) as driver:
        volume = driver.create(size=kind.size)
        handle = volume.volume_id
        driver.stage(handle)
        path = driver.publish(handle)

        assert volume.volume_context["mooring.dev/size"] == "accounted"
        assert _write_past_the_end(path / "big", kind.size) == 0
        assert driver.health(handle) == {"SizeExceeded": "DEGRADED"}
        listed = driver.controller.ControllerListVolumeHealth(csi_pb2.ControllerListVolumeHealthRequest(), timeout=10)
        assert [(each.volume_id, each.health_statuses[0].reason) for each in listed.entries] == [
            (handle, "SizeExceeded")
        ]
        driver.expand(handle, 2 * kind.size)
        assert driver.health(handle) == {}
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(EXT4, XFS)
def test_the_stats_have_inodes_where_the_filesystem_counts_them(tmp_path: Path, kind: Kind) -> None:
    """Used and free inodes add up to the total."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.stage(handle)
        path = driver.publish(handle)
        before = driver.stats(handle, path)["INODES"]
        for number in range(10):
            (path / str(number)).touch()
        inodes = driver.stats(handle, path)["INODES"]

        assert inodes.used == before.used + 10
        assert inodes.used + inodes.available == inodes.total
        driver.unpublish(handle, path)
        driver.unstage(handle)
