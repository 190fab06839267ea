"""The part of kubelet that registers drivers: it finds a socket, calls GetInfo and the driver, and reports the result."""

import json
import socket
import stat
from pathlib import Path
from typing import Any

import grpc

from csi.v1 import csi_pb2, csi_pb2_grpc, registration_pb2, registration_pb2_grpc
from tests.unit.csi.services.driver import SECONDS, Driver
from tests.until import until

INTERVAL = 0.05
"""Seconds between the driver's checks of its socket, in these tests."""


class Kubelet:
    """Kubelet's registration directory, and the driver that is expected there."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "registry"
        self.directory.mkdir()
        self.socket = self.directory / "csi.mooring.dev-reg.sock"
        self.endpoint = home / "csi.sock"

    @property
    def flags(self) -> tuple[str, ...]:
        """The driver's flags for this kubelet."""
        return (
            f"--kubelet-registration-dir={self.directory}",
            f"--kubelet-socket-path={self.endpoint}",
            f"--kubelet-check-interval={INTERVAL}",
            "--log-format=json",
        )

    def seen(self) -> tuple[int, int] | None:
        """Identify the present socket: inode and time, since a filesystem may reuse an inode."""
        try:
            status = self.socket.lstat()
        except OSError:
            return None
        return (status.st_ino, status.st_mtime_ns) if stat.S_ISSOCK(status.st_mode) else None

    def until_served(self, *, other_than: tuple[int, int] | None = None) -> None:
        """Wait for a socket, other than an earlier one, that responds to GetInfo within kubelet's one second."""
        until(lambda: self.seen() not in (None, other_than), "the driver has a socket", seconds=SECONDS, pause=0.005)
        assert self.info().name == "csi.mooring.dev"

    def info(self, *, authority: str = "localhost") -> registration_pb2.PluginInfo:
        """Call GetInfo, on a new connection, as kubelet does for each call."""
        with self._dial(self.socket, authority) as channel:
            stub = registration_pb2_grpc.RegistrationStub(channel)
            return stub.GetInfo(registration_pb2.InfoRequest(), timeout=1)

    def node_id(self, endpoint: str) -> str:
        """Call NodeGetInfo of the driver at its registered endpoint."""
        with self._dial(Path(endpoint)) as channel:
            stub = csi_pb2_grpc.NodeStub(channel)
            return stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=SECONDS).node_id

    def notify_status(self, *, registered: bool, error: str = "") -> None:
        """Report the result of the registration to the driver."""
        status = registration_pb2.RegistrationStatus(plugin_registered=registered, error=error)
        with self._dial(self.socket) as channel:
            registration_pb2_grpc.RegistrationStub(channel).NotifyRegistrationStatus(status, timeout=5)

    @staticmethod
    def _dial(path: Path, authority: str = "localhost") -> grpc.Channel:
        options = [("grpc.default_authority", authority), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.insecure_channel(f"unix://{path}", options=options)


def logged(driver: Driver, event: str) -> list[dict[str, Any]]:
    """Return the driver's log lines of that event, oldest first."""
    lines = driver.log.read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def listening(path: Path) -> socket.socket:
    """Return a listening socket at the path."""
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen(8)
    return found


def create_stale_socket(path: Path) -> None:
    """Create a socket as a killed process leaves it."""
    listening(path).close()
