"""Volumes are expanded, in use or not, to exactly the requested size, and their contents do not change."""

import fcntl
import os
import signal
import threading
from pathlib import Path

import grpc
import msgspec
import pytest

from csi.v1 import csi_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, code, code_of, running
from tests.unit.csi.services.kinds import BTRFS, DIRECTORY, EXT4, MIB, RAW, SUBVOLUME, XFS, Kind, each, serving

ALL = (DIRECTORY, SUBVOLUME, EXT4, XFS, BTRFS, RAW)
PIECE = 64 << 10


class Writer(threading.Thread):
    """Appends numbered pieces and syncs each, until it is stopped."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._stopping = threading.Event()
        self.started, self.written = threading.Event(), 0

    def run(self) -> None:
        """Write pieces that contain their number."""
        with self._path.open("rb+" if self._path.is_block_device() else "wb", buffering=0) as file:
            while not self._stopping.is_set() and self.written < 64:
                file.write(_piece(self.written))
                os.fsync(file.fileno())
                self.written += 1
                self.started.set()
                self._stopping.wait(0.005)

    def stop(self) -> int:
        """Stop; return the number of written pieces."""
        self._stopping.set()
        self.join(SECONDS)
        return self.written


def _piece(number: int) -> bytes:
    return number.to_bytes(8, "big") * (PIECE // 8)


def _size(path: Path) -> int:
    if path.is_block_device():
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


@each(*ALL, needs={"loop/ext4": "sys_resource"})
def test_a_volume_is_expanded_during_writes_to_it(tmp_path: Path, kind: Kind) -> None:
    """No acknowledged write is lost, and the volume has more capacity."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use)
        before = _size(path)
        writer = Writer(path if path.is_block_device() else path / "file")
        writer.start()
        assert writer.started.wait(SECONDS)
        response = driver.expand(handle, 2 * kind.size)
        assert response.node_expansion_required == kind.name.startswith("loop")
        expanded_to = driver.node_expand(handle, path)
        count = writer.stop()

        with (path if path.is_block_device() else path / "file").open("rb") as file:
            content = file.read(count * PIECE)
        assert content == b"".join(_piece(number) for number in range(count))
        assert (response.capacity_bytes, expanded_to) == (2 * kind.size, 2 * kind.size)
        assert driver.stats(handle, path)["BYTES"].total >= kind.size * 1.5
        if kind.name.startswith("loop"):
            assert _size(path) > before * 1.5
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(*ALL)
def test_a_volume_that_was_expanded_while_unused_is_staged_with_its_new_size(tmp_path: Path, kind: Kind) -> None:
    """It does not need NodeExpandVolume afterwards, which succeeds nevertheless."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        first = driver.expand(handle, 2 * kind.size)
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use)

        assert first.capacity_bytes == 2 * kind.size
        assert driver.stats(handle, path)["BYTES"].total >= kind.size * 1.5
        assert driver.node_expand(handle, path) == 2 * kind.size
        driver.unpublish(handle, path)
        driver.unstage(handle)
        assert driver.health(handle) == {}


@each(DIRECTORY, EXT4, RAW)
def test_the_size_is_exact_and_never_shrinks(tmp_path: Path, kind: Kind) -> None:
    """It is rounded up to whole blocks where the limit allows it; a volume that is large enough does not change."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        odd = kind.size + 4096 + 512

        assert driver.expand(handle, kind.size - 4096).capacity_bytes == kind.size
        assert driver.expand(handle, odd, limit=odd).capacity_bytes == odd
        assert driver.expand(handle, odd + 1).capacity_bytes == kind.size + 8192
        assert code(lambda: driver.expand(handle, 4096, limit=kind.size)) == "OUT_OF_RANGE"
        assert code(lambda: driver.expand(handle, 2, limit=1)) == "INVALID_ARGUMENT"
        (entry,) = driver.controller.ListVolumes(csi_pb2.ListVolumesRequest()).entries
        assert entry.volume.capacity_bytes == kind.size + 8192


@each(DIRECTORY, EXT4)
def test_a_size_that_never_fits_and_one_that_does_not_fit_now_have_different_codes(tmp_path: Path, kind: Kind) -> None:
    """OUT_OF_RANGE lets the user request less again, and Kubernetes retries after RESOURCE_EXHAUSTED."""
    with serving(tmp_path, kind, size=512 * MIB) as driver:
        handle = kind.create(driver)
        other = kind.create(driver, "other", size=300 * MIB)

        assert code(lambda: driver.expand(handle, 8 << 30)) == "OUT_OF_RANGE"
        assert code(lambda: driver.expand(handle, 300 * MIB)) == "RESOURCE_EXHAUSTED"
        driver.delete(other)
        assert driver.expand(handle, 300 * MIB).capacity_bytes == 300 * MIB


@each(EXT4)
def test_an_expanded_thick_volume_stays_thick_and_a_full_disk_does_not_change_it(tmp_path: Path, kind: Kind) -> None:
    """All of its bytes are reserved at once, or none."""
    with serving(tmp_path, kind, size=512 * MIB) as driver:
        handle = kind.create(driver, provisioning="thick")
        driver.expand(handle, 2 * kind.size)
        image = next((tmp_path / "pool/volumes").glob("*/image"))
        filler = tmp_path / "pool" / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _free(tmp_path / "pool") - 16 * MIB)
        refused = code(lambda: driver.expand(handle, 4 * kind.size))
        found = image.stat()
        filler.unlink()

        assert refused in {"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"}
        assert (found.st_size, found.st_blocks * 512 >= 2 * kind.size) == (2 * kind.size, True)
        assert driver.expand(handle, 4 * kind.size).capacity_bytes == 4 * kind.size


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@each(*ALL)
def test_an_expansion_that_a_crash_interrupted_is_finished_at_the_next_start(tmp_path: Path, kind: Kind) -> None:
    """The intended size is in the manifest; its bytes are reserved in any case."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        driver.end(signal.SIGKILL)
        manifest = next((tmp_path / "pool/volumes").glob("*/manifest.json"))
        intended = msgspec.json.decode(manifest.read_bytes()) | {"grows_to": 2 * kind.size}
        manifest.write_bytes(msgspec.json.encode(intended))
        driver.start()

        assert driver.health(handle) == {}
        assert driver.expand(handle, 2 * kind.size).capacity_bytes == 2 * kind.size
        assert msgspec.json.decode(manifest.read_bytes())["grows_to"] == 0
        driver.stage(handle, use=kind.use)
        path = driver.publish(handle, use=kind.use)
        assert driver.stats(handle, path)["BYTES"].total >= kind.size * 1.5
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(EXT4)
def test_the_node_expands_no_further_than_the_controller(driver: Driver, kind: Kind) -> None:
    """It does so only where the volume is mounted."""
    handle = kind.create(driver)
    driver.stage(handle)
    path = driver.publish(handle)
    capacity = csi_pb2.CapacityRange(required_bytes=2 * kind.size)
    request = csi_pb2.NodeExpandVolumeRequest(volume_id=handle, volume_path=str(path), capacity_range=capacity)

    assert code(lambda: driver.node.NodeExpandVolume(request, timeout=SECONDS)) == "OUT_OF_RANGE"
    assert code(lambda: driver.node_expand(handle, path.parent)) == "NOT_FOUND"
    driver.unpublish(handle, path)
    driver.unstage(handle)


@each(EXT4)
@pytest.mark.limit("ext4-grows-with-capability")
def test_an_ext4_in_use_is_not_expanded_without_the_capability_that_the_kernel_requires(
    tmp_path: Path, kind: Kind
) -> None:
    """The error names it, the volume does not change, and it has its new size the next time it is staged."""
    with running(tmp_path, wrapper=["setpriv", "--bounding-set=-sys_resource"]) as driver:
        handle = kind.create(driver)
        driver.stage(handle)
        path = driver.publish(handle)
        driver.expand(handle, 2 * kind.size)
        with pytest.raises(grpc.RpcError) as refused:
            driver.node_expand(handle, path)

        assert code_of(refused.value) == "FAILED_PRECONDITION"
        assert "CAP_SYS_RESOURCE" in str(refused.value.details())
        driver.unpublish(handle, path)
        driver.unstage(handle)
        driver.stage(handle)
        path = driver.publish(handle)
        assert driver.node_expand(handle, path) == 2 * kind.size
        assert driver.stats(handle, path)["BYTES"].total >= kind.size * 1.5
        driver.unpublish(handle, path)
        driver.unstage(handle)


@each(EXT4, RAW)
def test_an_image_that_a_program_of_an_earlier_driver_works_on_is_not_changed(driver: Driver, kind: Kind) -> None:
    """ABORTED, with the reason, until that program has ended: kubelet and the controller repeat the call."""
    handle = kind.create(driver)
    with next((driver.pool / "volumes").glob("*/image")).open("rb") as image:
        fcntl.flock(image, fcntl.LOCK_EX)
        for call in (lambda: driver.stage(handle, use=kind.use), lambda: driver.expand(handle, 2 * kind.size)):
            with pytest.raises(grpc.RpcError, match="another process works on") as refused:
                call()
            assert code_of(refused.value) == "ABORTED"
    assert driver.expand(handle, 2 * kind.size).capacity_bytes == 2 * kind.size
    driver.stage(handle, use=kind.use)
    driver.unstage(handle)


@each(EXT4, RAW)
def test_a_truncated_image_is_not_expanded(tmp_path: Path, kind: Kind) -> None:
    """It would read back with zeros and look whole; an expansion that a crash interrupted is given up, too."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        image, manifest = tmp_path / "pool/volumes/v/image", tmp_path / "pool/volumes/v/manifest.json"
        os.truncate(image, kind.size // 2)

        assert code(lambda: driver.expand(handle, 2 * kind.size)) == "FAILED_PRECONDITION"
        driver.end(signal.SIGKILL)
        intended = msgspec.json.decode(manifest.read_bytes()) | {"grows_to": 2 * kind.size}
        manifest.write_bytes(msgspec.json.encode(intended))
        driver.start()

        assert driver.health(handle) == {"ImageTruncated": "DATA_LOSS"}
        assert image.stat().st_size == kind.size // 2
        assert msgspec.json.decode(manifest.read_bytes())["grows_to"] == 0
