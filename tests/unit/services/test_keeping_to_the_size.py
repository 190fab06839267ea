"""Who writes past a volume's size is refused by the kernel, where the driver says that the size is enforced."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from csi.v1 import csi_pb2, inventory_pb2
from tests.unit.services.driver import Driver
from tests.unit.services.kinds import BTRFS, DIRECTORY, EXT4, MIB, RAW, SUBVOLUME, XFS, Kind, each, serving


def _write_past_the_end(path: Path, size: int) -> int:
    """The errno of whatever stops it; 0 when nothing does."""
    descriptor = os.open(path, os.O_WRONLY | (0 if path.is_block_device() else os.O_CREAT))
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
def test_a_loop_volume_is_full_when_it_is_full(tmp_path: Path, kind: Kind, provisioning: str) -> None:
    """ENOSPC, and the pool's own disk has room all the time."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver, provisioning=provisioning)
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use)
        stopped = _write_past_the_end(path if kind is RAW else path / "big", kind.size)

        assert stopped == errno.ENOSPC
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(SUBVOLUME)
def test_a_directory_on_btrfs_is_over_its_quota_when_it_is_full(tmp_path: Path, kind: Kind) -> None:
    """EDQUOT; the stats come from the quota, and the quota group goes with the purge."""
    with serving(tmp_path, kind) as driver:
        volume = driver.create(size=kind.size)
        handle = volume.volume_id
        driver.stage(handle)
        path = driver.publish(handle)
        stopped = _write_past_the_end(path / "big", kind.size)
        os.sync()
        usage = driver.stats(handle, path)

        assert (stopped, volume.volume_context["mooring.dev/size"]) == (errno.EDQUOT, "enforced")
        assert usage["BYTES"].total == kind.size
        assert kind.size - 2 * MIB < usage["BYTES"].used <= kind.size
        assert set(usage) == {"BYTES"}, "btrfs has no number of inodes"
        (path / "big").unlink()
        os.sync()
        subprocess.run(["btrfs", "subvolume", "create", str(path / "nested")], check=True, capture_output=True)
        (path / "nested" / "file").touch()
        driver.unpublish(handle, path)
        driver.unstage(handle)
        assert len(_quota_groups(driver)) == 3
        driver.delete(handle)
        driver.inventory.Purge(inventory_pb2.PurgeRequest(all=True))
        os.sync()
        assert _quota_groups(driver) == ["0/5"]
        assert list((driver.pool / "trash").iterdir()) == []


def _quota_groups(driver: Driver) -> list[str]:
    shown = subprocess.run(["btrfs", "qgroup", "show", str(driver.pool)], check=True, capture_output=True, text=True)
    return [line.split()[0] for line in shown.stdout.splitlines() if line.startswith("0/")]


@each(DIRECTORY)
def test_an_accounted_directory_says_so_and_is_not_well_when_it_is_too_big(tmp_path: Path, kind: Kind) -> None:
    """Nobody stops the write; health names it, and expanding heals it."""
    with serving(tmp_path, kind) as driver:
        volume = driver.create(size=kind.size)
        handle = volume.volume_id
        driver.stage(handle)
        path = driver.publish(handle)

        assert volume.volume_context["mooring.dev/size"] == "accounted"
        assert _write_past_the_end(path / "big", kind.size) == 0
        assert driver.health(handle) == {"MoreThanPromised": "DEGRADED"}
        listed = driver.controller.ControllerListVolumeHealth(csi_pb2.ControllerListVolumeHealthRequest(), timeout=10)
        assert [(each.volume_id, each.health_statuses[0].reason) for each in listed.entries] == [
            (handle, "MoreThanPromised")
        ]
        driver.expand(handle, 2 * kind.size)
        assert driver.health(handle) == {}
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(EXT4, XFS)
def test_the_stats_count_inodes_where_the_filesystem_does(tmp_path: Path, kind: Kind) -> None:
    """Used and free make up the total."""
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
