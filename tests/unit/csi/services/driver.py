"""A real driver process and a client of its socket."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from csi.v1 import csi_pb2, csi_pb2_grpc, inventory_pb2_grpc
from tests.conftest import ROOT

Mode = csi_pb2.VolumeCapability.AccessMode.Mode
Capability = csi_pb2.VolumeCapability
SECONDS = 30


class Driver:
    """A driver that tests start, stop and kill; its stubs raise grpc.RpcError."""

    def __init__(self, home: Path, *flags: str, wrapper: Sequence[str] = ()) -> None:
        self.home = home
        self._wrapper = wrapper
        self.pool = home / "pool"
        self.pool.mkdir(exist_ok=True)
        self.log = home / "driver.log"
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the driver; return when it serves."""
        argv = [*self._wrapper, sys.executable, "-m", "csi", f"--endpoint=unix://{self.home}/csi.sock", "--node-id=n"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, f"--pool={self.pool}", "--init-empty-pools", *self._flags], cwd=ROOT, stderr=log
            )
        self.connect()

    def connect(self) -> None:
        """Connect to a driver that is already started; return when it serves."""
        options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50)]
        self._channel = grpc.insecure_channel(f"unix://{self.home}/csi.sock", options=options)
        grpc.channel_ready_future(self._channel).result(SECONDS)
        self.identity = csi_pb2_grpc.IdentityStub(self._channel)
        self.controller = csi_pb2_grpc.ControllerStub(self._channel)
        self.node = csi_pb2_grpc.NodeStub(self._channel)
        self.inventory = inventory_pb2_grpc.InventoryStub(self._channel)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        assert self._process is not None
        assert self._channel is not None
        self._channel.close()
        self._process.send_signal(number)
        return self._process.wait(60)

    def create(
        self,
        name: str = "v",
        *,
        size: int = 1 << 20,
        limit: int = 0,
        mode: Any = Mode.SINGLE_NODE_WRITER,
        use: csi_pb2.VolumeCapability | None = None,
        more: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> csi_pb2.Volume:
        """Create a volume."""
        request = csi_pb2.CreateVolumeRequest(
            name=name,
            capacity_range=csi_pb2.CapacityRange(required_bytes=size, limit_bytes=limit),
            volume_capabilities=[use or capability(mode)],
            parameters={**parameters, **(more or {})},
        )
        return self.controller.CreateVolume(request, timeout=SECONDS).volume

    def stage(self, handle: str, *, use: csi_pb2.VolumeCapability | None = None) -> Path:
        """Stage the volume at a directory for it; return the path."""
        staging = self.home / f"staging-{handle.partition('.')[2]}"
        staging.mkdir(exist_ok=True)
        self.node.NodeStageVolume(
            csi_pb2.NodeStageVolumeRequest(
                volume_id=handle, staging_target_path=str(staging), volume_capability=use or capability()
            ),
            timeout=SECONDS,
        )
        return staging

    def publish(
        self,
        handle: str,
        target: str = "target",
        *,
        mode: Any = Mode.SINGLE_NODE_WRITER,
        read_only: bool = False,
        use: csi_pb2.VolumeCapability | None = None,
    ) -> Path:
        """Publish the volume below the driver's directory; return the path."""
        path = self.home / f"{target}-{handle.partition('.')[2]}"
        staging = self.home / f"staging-{handle.partition('.')[2]}"
        self.node.NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(
                volume_id=handle,
                staging_target_path=str(staging),
                target_path=str(path),
                volume_capability=use or capability(mode),
                readonly=read_only,
            ),
            timeout=SECONDS,
        )
        return path

    def unpublish(self, handle: str, path: Path) -> None:
        """Unpublish the volume."""
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(path))
        self.node.NodeUnpublishVolume(request, timeout=SECONDS)

    def unstage(self, handle: str) -> None:
        """Unstage the volume."""
        staging = self.home / f"staging-{handle.partition('.')[2]}"
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=str(staging))
        self.node.NodeUnstageVolume(request, timeout=SECONDS)

    def expand(self, handle: str, size: int, *, limit: int = 0) -> csi_pb2.ControllerExpandVolumeResponse:
        """Call ControllerExpandVolume."""
        capacity = csi_pb2.CapacityRange(required_bytes=size, limit_bytes=limit)
        request = csi_pb2.ControllerExpandVolumeRequest(volume_id=handle, capacity_range=capacity)
        return self.controller.ControllerExpandVolume(request, timeout=SECONDS)

    def node_expand(self, handle: str, path: Path) -> int:
        """Call NodeExpandVolume; return the size afterwards."""
        request = csi_pb2.NodeExpandVolumeRequest(volume_id=handle, volume_path=str(path))
        return self.node.NodeExpandVolume(request, timeout=SECONDS).capacity_bytes

    def stats(self, handle: str, path: Path) -> dict[str, csi_pb2.VolumeUsage]:
        """Return the usage by unit."""
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=str(path))
        response = self.node.NodeGetVolumeStats(request, timeout=SECONDS)
        return {csi_pb2.VolumeUsage.Unit.Name(each.unit): each for each in response.usage}

    def health(self, handle: str) -> dict[str, str]:
        """Return the health issues of a volume: CSI's status by reason."""
        request = csi_pb2.ControllerGetVolumeHealthRequest(volume_id=handle)
        response = self.controller.ControllerGetVolumeHealth(request, timeout=SECONDS).volume_health
        assert response.volume_id == handle
        return {each.reason: csi_pb2.VolumeHealthErrorType.Name(each.status) for each in response.health_statuses}

    def delete(self, handle: str) -> None:
        """Move the volume to the trash."""
        self.controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=handle), timeout=SECONDS)


def capability(
    mode: Any = Mode.SINGLE_NODE_WRITER, *, fs_type: str = "", flags: Sequence[str] = (), group: str = ""
) -> csi_pb2.VolumeCapability:
    """Return a capability of a mounted volume."""
    mount = Capability.MountVolume(fs_type=fs_type, mount_flags=flags, volume_mount_group=group)
    return Capability(mount=mount, access_mode=Capability.AccessMode(mode=mode))


def raw(mode: Any = Mode.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    """Return a capability of a raw block volume."""
    return Capability(block=Capability.BlockVolume(), access_mode=Capability.AccessMode(mode=mode))


@contextlib.contextmanager
def running(home: Path, *flags: str, wrapper: Sequence[str] = ()) -> Iterator[Driver]:
    """Run a driver; at the end stop it and unmount what a failed test left mounted, deepest first."""
    driver = Driver(home, *flags, wrapper=wrapper)
    driver.start()
    try:
        yield driver
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(driver.pid, 0)
            driver.end()
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        for target in reversed([line.split()[4] for line in table if f" {home}/" in line]):
            subprocess.run(["umount", target], check=False)


def code(call: Callable[[], object]) -> str:
    """Return the name of the gRPC code of a call."""
    try:
        call()
    except grpc.RpcError as error:
        return code_of(error)
    return "OK"


def code_of(error: grpc.RpcError) -> str:
    """Return the name of an error's gRPC code."""
    return str(error.code().name)
