"""
Registration with kubelet, through a second socket in the directory that kubelet watches.

Kubelet connects to every new socket there, calls GetInfo with a timeout of one second, calls the driver at the returned
endpoint, and reports the result with NotifyRegistrationStatus. When the socket is removed, kubelet unregisters the
driver. Three problems are handled here:

- A refused driver stays refused: kubelet 1.34 never tries a socket twice. So the socket is removed, and created again
  later.
- The directory is kubelet's. A socket that was removed or replaced there is created again at the next check, also after
  the directory itself was missing. If the directory is mounted into the container and then removed on the host, the
  container still sees the deleted inode. If its parent is mounted, that cannot happen.
- gRPC removes any socket at its path when a server starts and when it stops, also another driver's. So it listens under
  a private name (kubelet ignores names with a leading dot), and a hard link, which never replaces a file, adds the
  public name once the server runs.

A node has one driver: kubelet refuses a second one of the same name. If another running driver is registered, a
starting driver exits as in any unusable environment: otherwise it would serve and appear healthy, and a rollout
would continue, although kubelet does not use it. A driver that already serves does not exit when another one takes the
socket's name; it waits until that is free. Neither happens in a rolling upgrade, since a driver that stops removes this
socket before the socket of its services.

Source: pkg/kubelet/pluginmanager in k8s.io/kubernetes. The process's umask restricts the socket to its owner.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc.aio
import structlog

from csi import limits
from csi.errors import BadEnvironment
from csi.process.flags import Kubelet
from csi.process.sockets import is_served
from csi.services.edge import Context, legible, server_options
from csi.services.identity import NAME
from csi.v1 import registration_pb2, registration_pb2_grpc

log = structlog.get_logger()

VERSIONS: Final = ("1.0.0",)
"""Versions of CSI, in kubelet's notation: any 1.x is 1.0.0."""

GRACE_SECONDS: Final = 1.0
DOUBLINGS: Final = limits.REGISTRATION_DOUBLINGS
"""The pause after refusals is 1, 2, 4 … 32 times the interval between checks."""


def require_no_other_driver(kubelet: Kubelet | None) -> None:
    """Raise BadEnvironment when another driver is registered on this node. Call it before anything is served."""
    if kubelet is not None and is_served(_public(kubelet.directory)):
        raise BadEnvironment(_other_driver_message(kubelet.directory))


@contextlib.asynccontextmanager
async def registered(kubelet: Kubelet | None) -> AsyncIterator[None]:
    """Register with kubelet while the block runs; the driver listens already. Without kubelet do nothing."""
    if kubelet is None:
        yield
        return
    registration = Registration(kubelet)
    running = asyncio.create_task(registration.run())
    try:
        yield
    finally:
        registration.end()
        await asyncio.wait([running])


class Registration(registration_pb2_grpc.RegistrationServicer):
    """Registration service, and the task that maintains its socket."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._socket = _public(kubelet.directory)
        self._server: grpc.aio.Server | None = None
        self._inode: tuple[int, int] | None = None
        self._refused = self._ending = False
        self._changed = asyncio.Event()
        self._refusals = 0
        self._reported = ""

    async def GetInfo(  # noqa: N802 # the protocol's name
        self,
        request: registration_pb2.InfoRequest,  # noqa: ARG002 # the protocol's signature
        context: Context,  # noqa: ARG002 # as above
    ) -> registration_pb2.PluginInfo:
        """Return only constants and flags, so that kubelet gets the response before its timeout."""
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=NAME, endpoint=str(self._kubelet.endpoint), supported_versions=VERSIONS
        )

    async def NotifyRegistrationStatus(  # noqa: N802 # as above
        self,
        request: registration_pb2.RegistrationStatus,
        context: Context,  # noqa: ARG002 # as above
    ) -> registration_pb2.RegistrationStatusResponse:
        """Record kubelet's result; the reaction to a refusal follows after the response."""
        if request.plugin_registered:
            self._refusals = 0
            log.info("registration.registered", endpoint=str(self._kubelet.endpoint))
        else:
            self._refusals += 1
            log.warning("registration.refused", error=legible(request.error), again_in_seconds=self._pause())
            self._refused = True
            self._changed.set()
        return registration_pb2.RegistrationStatusResponse()

    async def run(self) -> None:
        """
        Create the socket and check it; remove it for a pause when kubelet refused, and finally after end().

        Do not cancel it: a gRPC server whose stop() was interrupted never stops.
        """
        while not self._ending:
            if not self._in_place():
                await self._offer()
            await self._wait(self._kubelet.check_seconds)
            if self._refused:
                await self._withdraw()
                self._refused = False
                await self._wait(self._pause())
        await self._withdraw()

    def end(self) -> None:
        """Make run() return."""
        self._ending = True
        self._changed.set()

    async def _wait(self, seconds: float) -> None:
        """Wait for a refusal or end(), at most this many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        if not self._ending:
            self._changed.clear()

    async def _withdraw(self) -> None:
        """Remove the socket, unless another driver's has its name, and stop its server."""
        if self._in_place():
            with contextlib.suppress(OSError):  # a directory that became read-only: kubelet cannot connect
                self._socket.unlink()
        self._inode = None
        if self._server is not None:
            await self._server.stop(GRACE_SECONDS)
            self._server = None

    async def _offer(self) -> None:
        """Create the socket. Log a failure once for each reason; the next check tries again."""
        if self._server is not None:
            log.warning("registration.lost", socket=str(self._socket))
        try:
            await self._withdraw()
            await self._bind()
        except Exception as error:  # noqa: BLE001 # the driver has to serve mounts after any error
            await self._withdraw()
            reason = getattr(error, "strerror", None) or error
            self._report(f"the registration socket {self._socket} cannot be created: {reason}; it is retried")
        else:
            self._reported = ""
            log.info("registration.offered", socket=str(self._socket), endpoint=str(self._kubelet.endpoint))

    async def _bind(self) -> None:
        """Start the server and create the socket. Raises OSError, or gRPC's errors; then _withdraw() cleans up."""
        directory = self._kubelet.directory
        if not directory.is_dir():
            raise FileNotFoundError("the directory does not exist")
        if not directory.stat().st_nlink:
            raise FileNotFoundError(
                "the directory was removed on the host; mount its parent instead, and restart the pod"
            )
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError("the directory is not writable")
        if await asyncio.to_thread(is_served, self._socket):
            raise FileExistsError(_other_driver_message(directory))
        for left in directory.glob(f".{NAME}-*.sock"):
            if not is_served(left):
                left.unlink(missing_ok=True)
        private = directory / f".{NAME}-{secrets.token_hex(4)}.sock"
        self._server = grpc.aio.server(options=server_options(), maximum_concurrent_rpcs=limits.CALLS)
        registration_pb2_grpc.add_RegistrationServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix://{private}")
        await self._server.start()
        self._socket.unlink(missing_ok=True)
        self._inode = _inode(private)
        os.link(private, self._socket)
        private.unlink(missing_ok=True)

    def _in_place(self) -> bool:
        """Report whether the public socket is this driver's: its inode is not reused as long as the server listens."""
        return self._inode is not None and _inode(self._socket) == self._inode

    def _pause(self) -> float:
        """Return the seconds without a socket after the refusals so far."""
        return self._kubelet.check_seconds * 2.0 ** min(self._refusals - 1, DOUBLINGS)

    def _report(self, reason: str) -> None:
        if reason != self._reported:
            log.warning("registration.waiting", error=reason)
        self._reported = reason


def _public(directory: Path) -> Path:
    return directory / f"{NAME}-reg.sock"


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _other_driver_message(directory: Path) -> str:
    return f"another driver is already registered at {_public(directory)}; a node has only one, so stop it first"
