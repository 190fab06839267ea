"""The driver's process: open pools, serve on one socket, shut down in order."""

import asyncio
import contextlib
import os
import signal

import grpc
import grpc.aio
import structlog

from csi import limits
from csi.backends import backends
from csi.errors import BadEnvironment
from csi.process.flags import Settings
from csi.process.network import listen
from csi.process.registration import registered, require_no_other_driver
from csi.process.sockets import is_served
from csi.services.attach import AttachingController
from csi.services.controller import Controller
from csi.services.edge import server_options
from csi.services.identity import Identity
from csi.services.inventory import Inventory
from csi.services.node import Node
from csi.v1 import csi_pb2_grpc, inventory_pb2_grpc
from csi.volumes.discovery import Discovery
from csi.volumes.pools import open_pools
from csi.volumes.volume_manager import VolumeManager

log = structlog.get_logger()

GRACE_SECONDS = 25.0


async def serve(settings: Settings) -> None:
    """Serve until a signal or the closed lifeline. Raises BadEnvironment before anything is served."""
    _prepare_socket(settings)
    require_no_other_driver(settings.kubelet)
    opened = open_pools(settings.pools, known_file=settings.known_pools, init_empty=settings.init_empty_pools)
    if not settings.pool_folders:
        opened.require_any()
    manager = VolumeManager(
        backends=backends(),
        node_id=settings.node_id,
        workers=settings.workers,
        purge_seconds=settings.purge_seconds,
        state=settings.socket.parent,
    )
    manager.remember_pools(opened.known.values())
    manager.load(opened.pools)
    await manager.finish_interrupted_first()
    servers = [await _on_socket(settings, manager)]
    log.info(
        "driver.serving",
        socket=str(settings.socket),
        pools=[pool.name for pool in manager.catalog.pools],
        pid=os.getpid(),
    )
    discovery = Discovery(manager, settings.pool_folders, paths=settings.pools, known_file=settings.known_pools)
    await discovery.poll_safely()
    tasks = [asyncio.create_task(manager.run_rounds()), asyncio.create_task(discovery.keep())]
    try:
        if settings.network is not None:
            servers.append(await listen(settings.network, manager, node_id=settings.node_id))
        async with registered(settings.kubelet):
            reason = await _stop_requested(settings.lifeline)
            log.info("driver.stopping", reason=reason)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(server.stop(GRACE_SECONDS) for server in servers))
        await manager.stop()
        settings.socket.unlink(missing_ok=True)
    log.info("driver.stopped")


async def _on_socket(settings: Settings, manager: VolumeManager) -> grpc.aio.Server:
    """Serve all services on the socket, for kubelet and other local clients with access. Raises BadEnvironment."""
    server = grpc.aio.server(options=server_options(), maximum_concurrent_rpcs=limits.CALLS)
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)
    most = settings.test_attach_limit
    controller = AttachingController(manager, max_volumes=most) if most else Controller(manager)  # type: ignore[abstract] # others: UNIMPLEMENTED
    csi_pb2_grpc.add_ControllerServicer_to_server(controller, server)
    csi_pb2_grpc.add_NodeServicer_to_server(Node(manager, max_volumes=most), server)
    inventory_pb2_grpc.add_InventoryServicer_to_server(Inventory(manager), server)
    try:
        server.add_insecure_port(f"unix://{settings.socket}")
        await server.start()
    except RuntimeError as error:
        raise BadEnvironment(f"cannot listen on {settings.socket}: {error}; choose another --endpoint") from None
    return server


def _prepare_socket(settings: Settings) -> None:
    """Create the socket's directory, and remove the socket of a dead driver. Raises BadEnvironment."""
    directory = settings.socket.parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadEnvironment(f"the socket's directory {directory} cannot be created: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise BadEnvironment(f"the socket's directory {directory} is not writable; choose another --endpoint")
    if is_served(settings.socket):
        raise BadEnvironment(f"another driver serves on {settings.socket}; stop it, or choose another --endpoint")
    settings.socket.unlink(missing_ok=True)


async def _stop_requested(lifeline: int | None) -> str:
    """Wait for a signal, or until the parent's end of the lifeline closes; return the reason."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(reason: str) -> None:
        if not stopped.done():
            stopped.set_result(reason)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    if lifeline is not None:

        def readable() -> None:
            with contextlib.suppress(BlockingIOError):
                if os.read(lifeline, 1024):
                    return
                loop.remove_reader(lifeline)
                stop("the parent ended")

        os.set_blocking(lifeline, False)
        loop.add_reader(lifeline, readable)
    return await stopped
