"""A pool whose disk has no free block left: its volumes are started, and no start of the driver fails."""

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from csi.v1 import inventory_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, code
from tests.unit.csi.services.kinds import BTRFS, DIRECTORY, EXT4, MIB, RAW, SUBVOLUME, XFS, Kind, each, serving
from tests.until import until

DISK = 900 * MIB
THICK = dataclasses.replace(EXT4, name="loop/thick", parameters=EXT4.parameters | {"provisioning": "thick"})


def _fill(pool: Path) -> Path:
    """Fill the disk down to its last block; return the file."""
    filler, found = pool / "filler", os.statvfs(pool)
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - MIB)
        file.seek(0, os.SEEK_END)
        for size in (MIB, 65536, 4096):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    os.fsync(file.fileno())
    with pytest.raises(OSError, match="No space left"):
        (pool / "other").write_bytes(b"x" * (16 << 10))
    (pool / "other").unlink()
    return filler


@each(DIRECTORY, SUBVOLUME, EXT4, XFS, BTRFS, RAW)
def test_a_volume_on_a_full_disk_is_staged_published_and_ended(tmp_path: Path, kind: Kind) -> None:
    """The pod that frees the space has to start, and to end; also after a restart of the driver."""
    with serving(tmp_path, kind, size=DISK) as driver:
        handle = kind.create(driver)
        _fill(driver.pool)
        for restart in (False, True):
            if restart:
                driver.end(signal.SIGKILL)
                driver.start()
            driver.stage(handle, use=kind.use)
            path = driver.publish(handle, use=kind.use)
            assert path.exists()
            driver.unpublish(handle, path)
            driver.unstage(handle)
        assert not path.exists()
        assert "Traceback" not in driver.log.read_text(encoding="utf-8")


def _interrupt_expansion(driver: Driver, name: str, size: int) -> Path:
    """Leave the volume as a kill during its expansion leaves it; return its manifest."""
    manifest = driver.pool / "volumes" / name / "manifest.json"
    intended = msgspec.json.decode(manifest.read_bytes()) | {"grows_to": size}
    manifest.write_bytes(msgspec.json.encode(intended))
    return manifest


@each(DIRECTORY, EXT4, RAW, THICK)
def test_an_interrupted_expansion_on_a_full_disk_delays_no_start_and_no_other_volume(
    tmp_path: Path, kind: Kind
) -> None:
    """Its bytes stay reserved, and it is finished once there is space."""
    with serving(tmp_path, kind, "--purge-interval=0.2", size=DISK) as driver:
        handle, other = kind.create(driver), kind.create(driver, "other")
        driver.end(signal.SIGKILL)
        manifest = _interrupt_expansion(driver, "v", 2 * kind.size)
        filler = _fill(driver.pool)
        driver.start()

        for each_handle in (handle, other):
            path = driver.home / f"target-{each_handle.partition('.')[2]}"
            _served(partial(driver.stage, each_handle, use=kind.use))
            _served(partial(driver.publish, each_handle, use=kind.use))
            assert path.exists()
            _served(partial(driver.unpublish, each_handle, path))
            _served(partial(driver.unstage, each_handle))
        assert _sizes(manifest) == (kind.size, 2 * kind.size)
        (pool,) = driver.inventory.ListPools(inventory_pb2.ListPoolsRequest(), timeout=SECONDS).pools
        assert pool.allocated_bytes == 3 * kind.size
        filler.unlink()
        until(lambda: _sizes(manifest) == (2 * kind.size, 0), "the driver has reported it", pause=0.01)
        until(lambda: driver.health(handle) == {}, "the driver has reported it", pause=0.01)
        assert "Traceback" not in driver.log.read_text(encoding="utf-8")


def _served(call: Callable[[], object]) -> None:
    """Call until the round that tries to finish the expansion does not hold the volume."""
    while (answer := code(call)) == "ABORTED":
        time.sleep(0.01)
    assert answer == "OK"


def _sizes(manifest: Path) -> tuple[int, int]:
    found = msgspec.json.decode(manifest.read_bytes())
    return found["size_bytes"], found["grows_to"]
