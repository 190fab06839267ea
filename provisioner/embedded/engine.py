"""The parts of the engine, started in order and stopped in the opposite order."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from provisioner.controllers.bind_race import BindRace
from provisioner.controllers.claims import Claims
from provisioner.controllers.expand import Expand
from provisioner.controllers.modify import Modify
from provisioner.controllers.orphans import Orphans
from provisioner.controllers.ownership import Ownership
from provisioner.controllers.pools import Pools
from provisioner.controllers.reclaim import Reclaim
from provisioner.drivers.client import DriverClient
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded import credentials
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.database import UnreadableStoreError
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.bootstrap import bootstrap
from provisioner.embedded.controlplane import workload_controllers
from provisioner.embedded.controlplane.claim_binder import ClaimBinder
from provisioner.embedded.controlplane.volume_binder import VolumeBinder
from provisioner.embedded.driver_process import DriverProcess
from provisioner.embedded.kubelet import node_object
from provisioner.embedded.kubelet.csi_calls import NodeCalls
from provisioner.embedded.kubelet.kubelet import Kubelet
from provisioner.embedded.settings import BadEnvironmentError, UpSettings
from provisioner.kube.cache import Caches
from provisioner.kube.control import Controller, ControlPlane
from provisioner.kube.errors import ApiError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport

log = structlog.get_logger()

COMPONENT = "mooring"


class Engine:
    """The driver, API server and control plane of one state directory."""

    def __init__(self, settings: UpSettings, *, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._report = report
        self._driver = DriverProcess(settings, report=report)
        self._open = contextlib.AsyncExitStack()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._kubelet: Kubelet | None = None
        self._transport: KubeTransport | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """The URL of the API server."""
        return f"https://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start all parts; return when pods can be served. Raises BadEnvironmentError."""
        settings, paths = self._settings, self._settings.paths
        self._report(f"starting on {paths.state}")
        await self._driver.start()
        self._run("driver", self._driver.watch())
        drivers, calls = DriverRegistry({settings.node_name: DriverClient(paths.endpoint)}), NodeCalls(paths.endpoint)
        self._open.push_async_callback(drivers.close)
        self._open.push_async_callback(calls.close)
        await self._serve_api()
        self._transport = transport = await KubeTransport.from_kubeconfig(paths.own_kubeconfig)
        self._open.push_async_callback(transport.close)
        await bootstrap(transport, node_name=settings.node_name)
        caches = Caches()
        recorder = Recorder(transport, COMPONENT)
        self._kubelet = Kubelet(transport, caches, recorder, calls=calls, paths=paths, node=settings.node_name)
        await self._kubelet.prepare()
        controllers: list[Controller] = [
            Pools(transport, caches, drivers=drivers),
            Claims(transport, caches, recorder, drivers=drivers),
            Expand(transport, caches, recorder, drivers=drivers),
            Modify(transport, caches, recorder, drivers=drivers),
            Orphans(transport, caches, drivers=drivers),
            BindRace(transport, caches, recorder, drivers=drivers),
            Ownership(transport, caches, drivers=drivers),
            Reclaim(transport, caches, recorder, drivers=drivers),
            ClaimBinder(transport, caches, recorder, drivers=drivers),
            VolumeBinder(transport, caches, recorder),
            self._kubelet,
            *workload_controllers(transport, caches, recorder),
        ]
        self._run("controllers", ControlPlane(transport, controllers, caches).run())
        await node_object.report(transport, settings.node_name, ready=True)

    async def _serve_api(self) -> None:
        """Open the store, serve it, and write the kubeconfig."""
        paths = self._settings.paths
        issued = credentials.ensure(paths)
        requested = self._settings.port or _stored_port(paths.port_file)
        try:
            store = Store(paths.database)
        except UnreadableStoreError as error:
            raise BadEnvironmentError(str(error)) from error
        self._open.callback(store.close)
        serving = serve(store, port=requested, tls=issued.server_context(), token=issued.token)
        try:
            self._port = await self._open.enter_async_context(serving)
        except OSError as error:
            raise BadEnvironmentError(
                f"cannot listen on 127.0.0.1:{requested} ({os.strerror(error.errno or 0)}); free that port, "
                f"or remove {paths.port_file} to choose another one"
            ) from error
        credentials.write_private(paths.port_file, f"{self._port}\n".encode())
        credentials.write_kubeconfig(paths, issued, port=self._port)

    async def failed(self) -> str:
        """Wait until a part ends unexpectedly; return its name and error."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        first = done.pop()
        error = None if first.cancelled() else first.exception()
        log.error("part.ended", part=first.get_name(), error=repr(error), exc_info=error)
        return f"{first.get_name()}: {error!r}" if error else f"{first.get_name()} ended"

    async def stop(self, force: asyncio.Event) -> list[str]:
        """
        Unmount all volumes and stop all parts; return messages on what failed.

        :param force: when set, unmounting is cancelled and the driver is killed
        """
        await self._end("controllers")
        problems: list[str] = []
        if self._kubelet is not None:
            unmounting = asyncio.create_task(self._kubelet.shut_down())
            forced = asyncio.create_task(force.wait())
            await asyncio.wait([unmounting, forced], return_when=asyncio.FIRST_COMPLETED)
            if unmounting.done():
                problems = unmounting.result()
            else:
                unmounting.cancel()
                problems = ["stopped by force: volumes may still be mounted; the next `mooring up` uses these mounts"]
            forced.cancel()
            await asyncio.wait([unmounting, forced])
        if self._transport is not None:
            with contextlib.suppress(ApiError):
                await node_object.report(
                    self._transport, self._settings.node_name, ready=False, why="the engine was stopped"
                )
        await self._end("driver")
        await self._open.aclose()
        await self._driver.stop(force=force.is_set())
        return problems

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def _end(self, name: str) -> None:
        if task := self._tasks.get(name):
            task.cancel()
            await asyncio.wait([task])


def _stored_port(path: Path) -> int:
    """Return the port of the last start; 0 when there is none or it is invalid."""
    try:
        # unbounded: a file of the engine's own state
        port = int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0
    return port if 0 < port < 1 << 16 else 0
