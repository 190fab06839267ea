"""Raw volumes: a device of exactly the volume's size, read-only where requested, found again after a restart."""

import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
from pathlib import Path

import grpc
import pytest

from csi.host import loopdev
from tests.unit.csi.services.driver import Driver, Mode, code, raw
from tests.unit.csi.services.kinds import MIB, RAW

pytestmark = pytest.mark.needs("root", "loop")


def _read_only(path: Path) -> bool:
    """Return whether the device refuses to be opened for writing, or refuses writes."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        assert error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}
        return True
    try:
        os.write(descriptor, b"x" * 512)
    except OSError as error:
        assert error.errno in {errno.EROFS, errno.EPERM}
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_raw_volume_is_a_device_of_its_size(driver: Driver) -> None:
    """Written data is there the next time it is published; the target and the device are removed in between."""
    handle = RAW.create(driver, size=8 * MIB + 512 * 8)
    for turn in range(2):
        driver.stage(handle, use=RAW.use)
        driver.stage(handle, use=RAW.use)
        path = driver.publish(handle, use=RAW.use)
        driver.publish(handle, use=RAW.use)
        with path.open("rb+") as device:
            assert stat.S_ISBLK(path.stat().st_mode)
            assert device.read(5) == (b"hello" if turn else bytes(5))
            device.seek(0)
            device.write(b"hello")
            assert device.seek(0, os.SEEK_END) == 8 * MIB + 4096
        usage = driver.stats(handle, path)
        assert (set(usage), usage["BYTES"].total) == ({"BYTES"}, 8 * MIB + 4096)
        assert code(lambda: driver.delete(handle)) == "FAILED_PRECONDITION"
        assert code(lambda: driver.unstage(handle)) == "FAILED_PRECONDITION"
        for _ in range(2):
            driver.unpublish(handle, path)
        for _ in range(2):
            driver.unstage(handle)
        assert not path.exists()
        assert loopdev.tagged(loopdev.tag_of(handle)) == []


def test_a_read_only_raw_volume_cannot_be_written(driver: Driver) -> None:
    """Not even by opening the device directly; the next publication can be writable."""
    handle = RAW.create(driver)
    driver.stage(handle, use=RAW.use)
    path = driver.publish(handle, use=RAW.use, read_only=True)

    assert _read_only(path)
    driver.unpublish(handle, path)
    path = driver.publish(handle, use=RAW.use)
    assert not _read_only(path)
    driver.unpublish(handle, path)
    driver.unstage(handle)


def test_readers_and_writers_of_one_raw_volume_have_separate_devices(driver: Driver) -> None:
    """With an access mode that allows several publications."""
    mode = Mode.SINGLE_NODE_MULTI_WRITER
    handle = driver.create(size=RAW.size, use=raw(mode), backend="loop").volume_id
    driver.stage(handle, use=raw(mode))
    writer = driver.publish(handle, "writer", use=raw(mode))
    reader = driver.publish(handle, "reader", use=raw(mode), read_only=True)

    assert (_read_only(writer), _read_only(reader)) == (False, True)
    driver.unpublish(handle, writer)
    driver.unpublish(handle, reader)
    driver.unstage(handle)
    assert loopdev.tagged(loopdev.tag_of(handle)) == []


def test_a_killed_driver_finds_its_devices_again(driver: Driver) -> None:
    """It finds them by tag, device and inode: nothing is attached twice, and unstaging detaches the device."""
    handle = RAW.create(driver)
    driver.stage(handle, use=RAW.use)
    path = driver.publish(handle, use=RAW.use)
    (device,) = loopdev.tagged(loopdev.tag_of(handle))
    driver.end(signal.SIGKILL)
    driver.start()
    driver.stage(handle, use=RAW.use)
    driver.publish(handle, use=RAW.use)

    assert loopdev.tagged(loopdev.tag_of(handle)) == [device]
    driver.unpublish(handle, path)
    driver.unstage(handle)
    assert loopdev.tagged(loopdev.tag_of(handle)) == []


def test_a_device_that_was_set_read_only_is_writable_for_the_next_volume(driver: Driver) -> None:
    """The kernel keeps that flag on the device for its next user."""
    handle = RAW.create(driver)
    driver.stage(handle, use=RAW.use)
    (device,) = loopdev.tagged(loopdev.tag_of(handle))
    descriptor = os.open(device.path, os.O_RDONLY)
    fcntl.ioctl(descriptor, loopdev.BLKROSET, struct.pack("=i", 1))
    os.close(descriptor)
    driver.unstage(handle)
    driver.stage(handle, use=RAW.use)
    path = driver.publish(handle, use=RAW.use)

    assert not _read_only(path)
    driver.unpublish(handle, path)
    driver.unstage(handle)


def test_a_raw_volume_is_not_mounted_and_a_mounted_one_is_not_raw(driver: Driver) -> None:
    """Each step refuses it."""
    handle = RAW.create(driver)
    mounted = driver.create("m", size=RAW.size, backend="loop").volume_id

    assert code(lambda: driver.stage(handle)) == "INVALID_ARGUMENT"
    assert code(lambda: driver.stage(mounted, use=raw())) == "INVALID_ARGUMENT"
    assert code(lambda: driver.create("d", use=raw())) == "INVALID_ARGUMENT"
    assert code(lambda: driver.create("v", size=RAW.size, backend="loop")) == "ALREADY_EXISTS"
    odd = RAW.size + 100
    with pytest.raises(grpc.RpcError) as refused:
        driver.create("odd", size=odd, limit=odd, use=raw(), backend="loop")
    assert "multiple of 512" in str(refused.value.details())


def test_a_directory_with_files_at_the_target_of_a_device_is_not_changed(driver: Driver) -> None:
    """The publication is refused, and the files stay."""
    handle = RAW.create(driver)
    driver.stage(handle, use=RAW.use)
    target = driver.home / f"target-{handle.partition('.')[2]}"
    target.mkdir()
    (target / "precious").touch()

    assert code(lambda: driver.publish(handle, use=RAW.use)) == "FAILED_PRECONDITION"
    assert (target / "precious").exists()
    (target / "precious").unlink()
    target.rmdir()
    driver.unpublish(handle, target)
    driver.unstage(handle)


def test_a_filesystem_that_a_user_creates_on_a_raw_volume_is_the_users(driver: Driver) -> None:
    """The driver neither formats nor checks nor expands it."""
    handle = RAW.create(driver)
    driver.stage(handle, use=RAW.use)
    path = driver.publish(handle, use=RAW.use)
    subprocess.run(["mkfs.ext4", "-q", str(path)], check=True)
    driver.expand(handle, 2 * RAW.size)
    driver.node_expand(handle, path)
    with path.open("rb") as device:
        assert device.seek(0, os.SEEK_END) == 2 * RAW.size
    found = subprocess.run(
        ["blkid", "-p", "-s", "TYPE", "-o", "value", str(path)], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "ext4"
    driver.unpublish(handle, path)
    driver.unstage(handle)
