"""The limitations of the driver in docs/limits.md, each demonstrated."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi.backends import backends
from csi.backends.protocol import Shape
from csi.host import filesystems, loopdev, mounts, trees
from csi.host.locks import locked
from csi.v1 import csi_pb2, csi_pb2_grpc
from tests.conftest import ROOT

MIB = 1 << 20
POOL = "11111111-1111-1111-1111-111111111111"
Capability = csi_pb2.VolumeCapability
Mode = Capability.AccessMode.Mode


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[grpc.Channel]:
    """A running driver with an empty pool."""
    (tmp_path / "pool").mkdir()
    socket = tmp_path / "csi.sock"
    argv = [sys.executable, "-m", "csi", f"--endpoint=unix://{socket}", "--node-id=n", f"--pool={tmp_path}/pool"]
    process = subprocess.Popen([*argv, "--init-empty-pools"], cwd=ROOT, stderr=subprocess.DEVNULL)
    channel = grpc.insecure_channel(f"unix://{socket}", options=[("grpc.initial_reconnect_backoff_ms", 20)])
    try:
        grpc.channel_ready_future(channel).result(20)
        yield channel
    finally:
        channel.close()
        process.terminate()
        assert process.wait(30) == 0


def _refused(driver: grpc.Channel, capability: csi_pb2.VolumeCapability, **parameters: str) -> tuple[str, str]:
    request = csi_pb2.CreateVolumeRequest(name="v", volume_capabilities=[capability], parameters=parameters)
    with pytest.raises(grpc.RpcError) as caught:
        csi_pb2_grpc.ControllerStub(driver).CreateVolume(request, timeout=20)
    return caught.value.code().name, caught.value.details() or ""


def _mounted(fs_type: str = "", mode: "Mode.ValueType" = Mode.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    return Capability(mount=Capability.MountVolume(fs_type=fs_type), access_mode=Capability.AccessMode(mode=mode))


@pytest.mark.limit("directory-size")
@pytest.mark.needs("root")
def test_a_directory_accepts_more_than_its_size(tmp_path: Path) -> None:
    """Afterwards the volume reports no available bytes."""
    volume_dir, staging = tmp_path / "volume", tmp_path / "staging"
    volume_dir.mkdir()
    staging.mkdir()
    shape = Shape(f"{POOL}.v", MIB, "mount", "", "", "thin", False)
    directory = backends()["directory"]
    directory.create(volume_dir, shape)
    directory.stage(volume_dir, shape, staging=staging, mount_flags=[])
    try:
        (staging / "big").write_bytes(b"x" * 2 * MIB)
        usage = directory.usage(volume_dir, shape, path=staging).filled(trees.disk_bytes(volume_dir / "data"))
    finally:
        mounts.unmount(staging)

    assert (directory.enforces_size(tmp_path), usage.available_bytes) == (False, 0)
    assert (usage.used_bytes or 0) >= 2 * MIB


@pytest.mark.limit("thin-disk-full")
@pytest.mark.needs("root", "loop")
def test_a_thin_volume_on_a_disk_that_other_files_filled_fails_on_sync(tmp_path: Path) -> None:
    """The ledger reserved the bytes, but other files on the disk used them."""
    disk, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * MIB)
    with locked(image) as image_lock:
        filesystems.create(image_lock, fs_type="ext4", uuid=str(uuid.uuid4()))
    shape = Shape(f"{POOL}.v", 32 * MIB, "mount", "ext4", str(uuid.uuid4()), "thin", True)
    loop, staging = backends()["loop"], tmp_path / "staging"
    staging.mkdir()
    with loopdev.attached(image, tag="mooring:limits") as device:
        mounts.mount(str(device.path), disk, fs_type="ext4", options=[])
    try:
        volume_dir = disk / "volume"
        volume_dir.mkdir()
        loop.create(volume_dir, shape)
        loop.stage(volume_dir, shape, staging=staging, mount_flags=[])
        try:
            with pytest.raises(OSError, match="No space left"):
                _fill(disk / "other")
            with pytest.raises(OSError, match=r"Input/output error|No space left"):
                _fill(staging / "data")
        finally:
            (disk / "other").unlink(missing_ok=True)
            mounts.unmount(staging)
            loop.detach(volume_dir, shape)
    finally:
        mounts.unmount(disk)


def _fill(path: Path) -> None:
    """Write and sync 64 MiB, more than the disks of these tests have."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(64):
            os.write(descriptor, b"x" * MIB)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.limit("no-snapshots")
def test_snapshots_are_not_implemented_and_sources_are_refused(driver: grpc.Channel) -> None:
    """No call succeeds without copying the data."""
    controller = csi_pb2_grpc.ControllerStub(driver)
    with pytest.raises(grpc.RpcError) as unimplemented:
        controller.CreateSnapshot(csi_pb2.CreateSnapshotRequest(name="s", source_volume_id="v"), timeout=20)
    source = csi_pb2.VolumeContentSource(volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id="v"))
    request = csi_pb2.CreateVolumeRequest(name="v", volume_capabilities=[_mounted()], volume_content_source=source)
    with pytest.raises(grpc.RpcError) as caught:
        controller.CreateVolume(request, timeout=20)

    assert unimplemented.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.limit("no-raw-directory")
def test_raw_block_volumes_are_refused_by_directories(driver: grpc.Channel) -> None:
    """The error names the backend that supports them."""
    access = Capability.AccessMode(mode=Mode.SINGLE_NODE_WRITER)
    code, message = _refused(driver, Capability(block=Capability.BlockVolume(), access_mode=access))

    assert code == "INVALID_ARGUMENT"
    assert "use backend loop" in message


@pytest.mark.limit("one-node-modes")
@pytest.mark.parametrize(
    "mode", [Mode.MULTI_NODE_READER_ONLY, Mode.MULTI_NODE_SINGLE_WRITER, Mode.MULTI_NODE_MULTI_WRITER]
)
def test_modes_of_several_nodes_are_refused(driver: grpc.Channel, mode: "Mode.ValueType") -> None:
    """A volume is on the disk of one node."""
    code, message = _refused(driver, _mounted(mode=mode))

    assert code == "INVALID_ARGUMENT"
    assert "one node's disk" in message


@pytest.mark.limit("loop-needs-root")
@pytest.mark.needs("userns")
def test_the_loop_backend_reports_that_it_cannot_work_in_a_user_namespace() -> None:
    """Root in a user namespace is not root on the machine."""
    code = "from csi.backends import backends; print(backends()['loop'].problem())"
    argv = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.startswith("backend loop needs root")
