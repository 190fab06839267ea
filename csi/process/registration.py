"""
How kubelet learns of the driver: a second socket, in the directory that kubelet watches.

Kubelet dials every socket that appears there, asks GetInfo (it waits one second), tries the driver at the endpoint it
was told, and says with NotifyRegistrationStatus how that went. A socket that goes away takes the driver off the node.
Three things make this more than two methods:

- A refused driver stays refused: kubelet 1.34 never tries a socket twice. So the socket goes, and comes back later.
- The directory is kubelet's. What is wiped there, or replaced, is put back at the next look, also when the directory
  itself was away. The mount has to show the living directory: of one that was removed on the host while it was mounted
  itself, a container keeps the corpse. Mounting its parent is safe.
- gRPC removes whatever socket has its path when a server starts and when it stops, also another driver's. So it listens
  under a private name (kubelet ignores those with a leading dot), and a hard link, which never replaces anything, shows
  the finished socket under the public one.

One node has one driver: kubelet refuses a second of the same name. Where a living one is registered, a starting driver
ends as in a bad environment: else it would serve, look healthy and let a rollout go on, though kubelet did not know it.
A driver that already serves is not ended by a newcomer: it waits until the place is free. A rolling upgrade meets
neither, for a driver that stops takes this socket away before that of its services.

Source: pkg/kubelet/pluginmanager in k8s.io/kubernetes. The process's umask keeps the socket to its owner.
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
"""Of CSI, as kubelet counts it: any 1.x is 1.0.0."""

GRACE_SECONDS: Final = 1.0
DOUBLINGS: Final = limits.REGISTRATION_DOUBLINGS
"""The pause after refusals is 1, 2, 4 … 32 times the interval between looks."""


def require_no_other_driver(kubelet: Kubelet | None) -> None:
    """Raises BadEnvironment when another driver is registered on this node. To be asked before anything is served."""
    if kubelet is not None and is_served(_public(kubelet.directory)):
        raise BadEnvironment(_other_driver_message(kubelet.directory))


@contextlib.asynccontextmanager
async def registered(kubelet: Kubelet | None) -> AsyncIterator[None]:
    """Inside, kubelet can find the driver; the driver listens already. Without kubelet, nothing."""
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
    """Keeps the socket in its place."""

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
        """From constants and flags, hence at once."""
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=NAME, endpoint=str(self._kubelet.endpoint), supported_versions=VERSIONS
        )

    async def NotifyRegistrationStatus(  # noqa: N802 # as above
        self,
        request: registration_pb2.RegistrationStatus,
        context: Context,  # noqa: ARG002 # as above
    ) -> registration_pb2.RegistrationStatusResponse:
        """Note kubelet's verdict; what follows from a refusal is done after the answer."""
        if request.plugin_registered:
            self._refusals = 0
            log.info("registration.registered", endpoint=str(self._kubelet.endpoint))
        else:
            self._refusals += 1
            log.warning("registration.refused", kubelet_says=legible(request.error), again_in_seconds=self._pause())
            self._refused = True
            self._changed.set()
        return registration_pb2.RegistrationStatusResponse()

    async def run(self) -> None:
        """
        Offer the socket, look after it, and take it away for a while when kubelet refused; for good after end().

        Not to be cancelled: a gRPC server whose stop() was cut off never stops.
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
        """Let keep() come to its end."""
        self._ending = True
        self._changed.set()

    async def _wait(self, seconds: float) -> None:
        """For news, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        if not self._ending:
            self._changed.clear()

    async def _withdraw(self) -> None:
        """Take the socket away, unless somebody else's is in its place."""
        if self._in_place():
            with contextlib.suppress(OSError):  # a directory that became read-only: kubelet finds nobody behind it
                self._socket.unlink()
        self._inode = None
        if self._server is not None:
            await self._server.stop(GRACE_SECONDS)
            self._server = None

    async def _offer(self) -> None:
        """Put a new socket in its place. If that cannot be, say so once for each reason; the next look tries again."""
        if self._server is not None:
            log.warning("registration.lost", socket=str(self._socket))
        try:
            await self._withdraw()
            await self._bind()
        except Exception as error:  # noqa: BLE001 # mounts go on, whatever it was
            await self._withdraw()
            reason = getattr(error, "strerror", None) or error
            self._report(f"{self._socket} cannot be offered to kubelet: {reason}; it is tried again until it can")
        else:
            self._reported = ""
            log.info("registration.offered", socket=str(self._socket), endpoint=str(self._kubelet.endpoint))

    async def _bind(self) -> None:
        """Raises OSError, or what gRPC raises; _withdraw() cleans up, wherever this was left."""
        directory = self._kubelet.directory
        if not directory.is_dir():
            raise FileNotFoundError("the directory is not there")
        if not directory.stat().st_nlink:
            raise FileNotFoundError(
                "the directory was removed where it is mounted from; restart the pod, mount its parent"
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
        """Is what kubelet sees our own socket? Its inode cannot be used again as long as we listen."""
        return self._inode is not None and _inode(self._socket) == self._inode

    def _pause(self) -> float:
        """Seconds to stay away after the refusals so far."""
        return self._kubelet.check_seconds * 2.0 ** min(self._refusals - 1, DOUBLINGS)

    def _report(self, reason: str) -> None:
        if reason != self._reported:
            log.warning("registration.waiting", reason=reason)
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
    return f"another driver is registered at {_public(directory)} already; a node has one, so stop it first"
