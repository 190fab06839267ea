"""Health reports the issues of a volume or a pool, and nothing for healthy ones."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from csi.backends import bindings
from csi.host import mounts
from csi.v1 import csi_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, capability, code
from tests.unit.csi.services.kinds import BTRFS, DIRECTORY, EXT4, MIB, RAW, SUBVOLUME, XFS, Kind, disk, each, serving


def _storage(driver: Driver) -> dict[str, str]:
    response = driver.node.NodeGetStorageHealth(csi_pb2.NodeGetStorageHealthRequest(), timeout=SECONDS)
    assert all(each.message for each in response.backend_health)
    return {each.reason: csi_pb2.StorageHealthErrorType.Name(each.status) for each in response.backend_health}


def _unhealthy(driver: Driver) -> list[str]:
    response = driver.controller.ControllerListVolumeHealth(
        csi_pb2.ControllerListVolumeHealthRequest(), timeout=SECONDS
    )
    return [each.volume_id for each in response.entries]


@each(DIRECTORY, SUBVOLUME, EXT4, XFS, BTRFS, RAW)
def test_a_healthy_volume_has_no_issues(tmp_path: Path, kind: Kind) -> None:
    """Neither unused nor in use."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        assert (driver.health(handle), _storage(driver), _unhealthy(driver)) == ({}, {}, [])
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use, read_only=True)
        request = csi_pb2.NodeGetVolumeHealthRequest(volume_id=handle, volume_publish_path=str(path))
        response = driver.node.NodeGetVolumeHealth(request, timeout=SECONDS).volume_health

        assert (response.volume_id, list(response.health_statuses), driver.health(handle)) == (handle, [], {})
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(EXT4, RAW)
def test_a_missing_short_or_long_image_is_reported(tmp_path: Path, kind: Kind) -> None:
    """The first two are lost data; a longer image is only degraded."""
    with serving(tmp_path, kind) as driver:
        handle, healthy = kind.create(driver), kind.create(driver, "well")
        image = tmp_path / "pool/volumes/v/image"
        os.truncate(image, kind.size + 4096)
        assert driver.health(handle) == {"ImageSizeDiffers": "DEGRADED"}
        os.truncate(image, kind.size // 2)
        assert driver.health(handle) == {"ImageTruncated": "DATA_LOSS"}
        assert code(lambda: driver.stage(handle, use=kind.use)) == "INTERNAL"
        image.unlink()
        assert driver.health(handle) == {"ImageMissing": "DATA_LOSS"}

        assert _unhealthy(driver) == [handle]
        assert driver.health(healthy) == {}


@each(EXT4, RAW)
def test_a_device_over_a_deleted_file_is_reported_while_the_data_can_be_copied(tmp_path: Path, kind: Kind) -> None:
    """Also if another file has the image's name."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.stage(handle, use=kind.use)
        image = tmp_path / "pool/volumes/v/image"
        moved = image.with_name("moved")
        image.rename(moved)
        image.write_bytes(b"")
        os.truncate(image, kind.size)
        found = driver.health(handle)
        moved.rename(image)

        assert found == {"LoopOnDeletedFile": "DATA_LOSS"}
        driver.unstage(handle)


@each(EXT4)
def test_a_filesystem_that_became_read_only_or_has_errors_is_reported(tmp_path: Path, kind: Kind) -> None:
    """A requested read-only publication is no issue."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        image = tmp_path / "pool/volumes/v/image"
        subprocess.run(["debugfs", "-w", "-R", "ssv state 2", str(image)], check=True, capture_output=True)
        assert driver.health(handle) == {"FilesystemErrors": "DEGRADED"}
        staging = driver.stage(handle)
        assert driver.health(handle) == {}
        subprocess.run(["mount", "-o", "remount,ro", str(staging)], check=True)
        assert driver.health(handle) == {"FilesystemReadOnly": "DEGRADED"}
        driver.unstage(handle)


@each(EXT4)
def test_an_ext4_that_became_read_only_after_an_error_is_reported(tmp_path: Path, kind: Kind) -> None:
    """Since Linux 6.15 its mount stays writable, and only the option `emergency_ro` shows it."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        staging = driver.stage(handle, use=capability(flags=["errors=remount-ro"]))
        _report_an_error(staging)
        assert driver.health(handle)["FilesystemReadOnly"] == "DEGRADED"
        driver.unstage(handle)


def _report_an_error(path: Path) -> None:
    """Trigger an error in the ext4 that is mounted there, as if its disk had failed."""
    mount = mounts.at(path)
    assert mount is not None
    system = Path("/sys/fs/ext4", Path(mount.source).name, "trigger_fs_error")
    system.write_text("mooring's own test", encoding="ascii")


@each(DIRECTORY)
def test_a_pool_that_became_read_only_after_an_error_is_reported(tmp_path: Path, kind: Kind) -> None:
    """Also where statfs(2) reports it as writable; the health of its mounted volumes reports it, too."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.stage(handle)
        subprocess.run(["mount", "-o", "remount,errors=remount-ro", str(tmp_path / "pool")], check=True)
        _report_an_error(tmp_path / "pool")

        assert _storage(driver) == {"PoolReadOnly": "STORAGE_DEGRADED"}
        assert driver.health(handle) == {"FilesystemReadOnly": "DEGRADED"}
        driver.unstage(handle)


@each(XFS)
def test_a_filesystem_that_shut_down_is_reported(tmp_path: Path, kind: Kind) -> None:
    """Its options do not show it; the data is inaccessible, and not lost."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        staging = driver.stage(handle)
        subprocess.run(["xfs_io", "-x", "-c", "shutdown -f", str(staging)], check=True)
        assert driver.health(handle) == {"FilesystemShutDown": "INACCESSIBLE"}
        driver.unstage(handle)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("rw", ""),
        ("ro", "FilesystemReadOnly"),
        ("rw,emergency_ro", "FilesystemReadOnly"),
        ("rw,shutdown", "FilesystemShutDown"),
        ("rw,emergency_ro,shutdown", "FilesystemShutDown"),
    ],
)
def test_the_state_in_a_filesystems_options_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, reason: str
) -> None:
    """Tested with the options of any kernel, not only this machine's."""
    mount = mounts.parse(f"1 2 7:1 / {tmp_path} rw - ext4 /dev/loop1 {options}")
    monkeypatch.setattr(mounts, "at", lambda _: mount)

    assert [each.reason for each in bindings.filesystem_issues(tmp_path)] == ([reason] if reason else [])


@each(DIRECTORY, EXT4)
def test_a_full_read_only_or_missing_pool_is_reported(tmp_path: Path, kind: Kind) -> None:
    """A volume of a missing pool is inaccessible; its data is not reported as lost."""
    with serving(tmp_path, kind, size=256 * MIB) as driver:
        handle = kind.create(driver)
        full = tmp_path / "pool" / "full"
        with full.open("wb") as file:
            found = os.statvfs(tmp_path / "pool")
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - MIB)
        assert _storage(driver) == {"PoolFull": "STORAGE_DEGRADED"}
        full.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "pool")], check=True)
        assert _storage(driver) == {"PoolReadOnly": "STORAGE_DEGRADED"}
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "pool")], check=True)
        assert _storage(driver) == {}
        subprocess.run(["umount", str(tmp_path / "pool")], check=True)

        assert _storage(driver) == {"PoolGone": "STORAGE_UNREACHABLE"}
        assert driver.health(handle) == {"PoolGone": "INACCESSIBLE"}
        assert _unhealthy(driver) == [handle]


@each(DIRECTORY)
def test_a_missing_directory_and_an_unreadable_manifest_are_reported(tmp_path: Path, kind: Kind) -> None:
    """A damaged manifest is an issue of the pool, since its volume is unknown."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        kind.create(driver, "damaged")
        (tmp_path / "pool/volumes/v/data").rmdir()
        assert driver.health(handle) == {"DirectoryMissing": "DATA_LOSS"}
        driver.end(signal.SIGTERM)
        (tmp_path / "pool/volumes/damaged/manifest.json").write_text("{", encoding="utf-8")
        driver.start()

        assert _storage(driver) == {"ManifestDamaged": "STORAGE_DEGRADED"}


@each(DIRECTORY)
def test_another_disk_at_the_path_of_a_pool_is_not_used_as_that_pool(tmp_path: Path, kind: Kind) -> None:
    """Its identity counts, not its path."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        subprocess.run(["umount", str(tmp_path / "pool")], check=True)
        (tmp_path / "pool").rmdir()
        with disk(tmp_path / "pool", "ext4"):
            (tmp_path / "pool" / "pool.json").write_text(
                '{"schema":1,"uuid":"11111111-1111-1111-1111-111111111111","name":"other"}', encoding="utf-8"
            )
            assert driver.health(handle) == {"PoolGone": "INACCESSIBLE"}
