"""`mooring controller`: the tasks of one replica. All replicas connect to the drivers; the holder of the Lease acts."""

import asyncio
import contextlib
import datetime as dt
import signal
from typing import Any

import structlog

from provisioner import logs
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.cluster.conflicts import conflicting_provisioner
from provisioner.cluster.discovery import DriverDiscovery
from provisioner.cluster.settings import ControllerSettings
from provisioner.cluster.trust import Trust
from provisioner.controllers.bind_race import BindRace
from provisioner.controllers.capacity import Capacity
from provisioner.controllers.claims import Claims
from provisioner.controllers.expand import Expand
from provisioner.controllers.modify import Modify
from provisioner.controllers.node_loss import NodeLoss
from provisioner.controllers.orphans import Orphans
from provisioner.controllers.ownership import Ownership
from provisioner.controllers.pools import Pools
from provisioner.controllers.reclaim import Reclaim
from provisioner.drivers.registry import DriverRegistry
from provisioner.kube.cache import Caches
from provisioner.kube.control import Controller, ControlPlane
from provisioner.kube.errors import ApiError, KubeconfigError
from provisioner.kube.events import Recorder
from provisioner.kube.health import ListenError, serving
from provisioner.kube.lease import Lease
from provisioner.kube.loops import forever
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import NODE, POD
from provisioner.model.names import POOL_LABEL_PREFIX
from provisioner.model.pod import cached_fields

log = structlog.get_logger()

OK = 0
FAILED = 1
BAD_ENVIRONMENT = 78
COMPONENT = "mooring-controller"
LEASE_NAME = "mooring-controller"
INVENTORY_REFRESH_SECONDS = 30.0
CONFLICT_CHECK_SECONDS = 10.0


def run(settings: ControllerSettings) -> int:
    """
    Run until SIGINT or SIGTERM; return the exit code.

    0 after an orderly stop, 1 when the Lease was lost or a task failed (restart it), 78 when there is no usable
    kubeconfig or ServiceAccount, or the address of the health endpoint cannot be listened on.
    """
    try:
        return asyncio.run(_run(settings))
    except (KubeconfigError, ListenError) as error:
        logs.show(f"mooring: {error}")
        return BAD_ENVIRONMENT


async def _run(settings: ControllerSettings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    transport = (
        await KubeTransport.from_kubeconfig(settings.kubeconfig)
        if settings.kubeconfig
        else await KubeTransport.in_cluster()
    )
    replica = Replica(settings, transport)
    async with contextlib.AsyncExitStack() as open_:
        open_.push_async_callback(transport.close)
        open_.push_async_callback(replica.registry.close)
        if settings.http_host:
            where = serving(settings.http_host, settings.http_port, healthy=replica.healthy, ready=replica.ready)
            await open_.enter_async_context(where)
        return await replica.run(stop)


class Replica:
    """One replica of the controller."""

    def __init__(self, settings: ControllerSettings, transport: KubeTransport) -> None:
        self._settings = settings
        self._transport = transport
        self._caches = Caches(transform={POD: cached_fields})
        self._recorder = Recorder(transport, COMPONENT)
        self._lease = Lease(transport, namespace=settings.namespace, name=LEASE_NAME, identity=settings.identity)
        self._problem = "it has not reached the API server yet"
        self._failed = ""
        self.registry = DriverRegistry(
            expected=self._nodes_with_pools, gone=lambda node: self._caches[NODE].get(node) is None
        )

    def healthy(self) -> str:
        """Return why this process should be restarted; "" when it is healthy."""
        return self._failed

    def ready(self) -> str:
        """Return why this replica cannot lead now; "" when it is ready."""
        return self._problem

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set, the Lease is lost or a task fails; return the exit code."""
        parts: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._discovery().run(), name="drivers"),
            asyncio.create_task(self._refresh(), name="inventory"),
            asyncio.create_task(self._lead(), name="controllers"),
        }
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*parts, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for part in parts - done:
            part.cancel()
        stopping.cancel()
        await asyncio.wait({*parts, stopping})
        await self._lease.release()
        for part in done & parts:
            error = part.exception()
            self._failed = f"{part.get_name()}: {error or part.result()}"
            log.error("part.ended", part=part.get_name(), error=self._failed, exc_info=error)
        log.info("controller.stopped")
        return FAILED if done & parts else OK

    async def _lead(self) -> str:
        """Wait for the Lease, then run the controllers until it is lost; return the reason."""
        await self._wait_for_no_conflict()
        self._problem = ""
        log.info("controller.waiting", lease=LEASE_NAME, identity=self._settings.identity)
        await self._lease.acquire()
        log.info("controller.leading", identity=self._settings.identity)
        acting: set[asyncio.Task[Any]] = {
            asyncio.create_task(ControlPlane(self._transport, self._controllers(), self._caches).run()),
            asyncio.create_task(self._lease.renew_until_lost()),
            asyncio.create_task(self._wait_for_conflict()),
        }
        try:
            done, _ = await asyncio.wait(acting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in acting:
                task.cancel()
            await asyncio.wait(acting)
        return str(done.pop().result())

    def _controllers(self) -> list[Controller]:
        transport, caches, recorder, registry = self._transport, self._caches, self._recorder, self.registry
        return [
            Pools(transport, caches, drivers=registry),
            self._capacity(),
            Claims(transport, caches, recorder, drivers=registry, reschedules=True),
            Expand(transport, caches, recorder, drivers=registry),
            Modify(transport, caches, recorder, drivers=registry),
            Ownership(transport, caches, drivers=registry),
            Reclaim(transport, caches, recorder, drivers=registry),
            NodeLoss(transport, caches, recorder, drivers=registry, grace=self._settings.node_loss_grace),
            Orphans(transport, caches, drivers=registry),
            BindRace(transport, caches, recorder, drivers=registry),
        ]

    def _capacity(self) -> Capacity:
        settings = self._settings
        return Capacity(
            self._transport,
            self._caches,
            drivers=self.registry,
            namespace=settings.namespace,
            template_bytes=settings.template_bytes,
        )

    def _discovery(self) -> DriverDiscovery:
        trust = Trust(self._transport, namespace=self._settings.namespace)
        return DriverDiscovery(
            self._transport,
            self.registry,
            EventDeduplicator(self._recorder),
            trust=trust,
            namespace=self._settings.namespace,
            service=self._settings.driver_service,
        )

    async def _refresh(self) -> None:
        """Cache every driver's inventory in every replica: a leader may end together with a node that it knew."""

        async def turn() -> None:
            await self.registry.refresh()
            await asyncio.sleep(INVENTORY_REFRESH_SECONDS)

        await forever("inventory", turn)

    async def _wait_for_no_conflict(self) -> None:
        # unbounded: a check every few seconds, until there is no conflicting provisioner
        while True:
            try:
                self._problem = await conflicting_provisioner(self._transport, now=dt.datetime.now(dt.UTC))
            except ApiError as error:
                self._problem = f"the API server does not respond: {error.message}"
            except Exception as error:  # an unreadable object must not end the controller
                self._problem = f"cannot check for a conflicting provisioner: {error!r}"
                log.exception("conflict.check_failed", error=repr(error))
            if not self._problem:
                return
            log.warning("controller.blocked", error=self._problem)
            await asyncio.sleep(CONFLICT_CHECK_SECONDS)

    async def _wait_for_conflict(self) -> str:
        found = ""
        # unbounded: a check every few seconds, as long as the controller runs
        while not found:
            await asyncio.sleep(CONFLICT_CHECK_SECONDS)
            try:
                found = await conflicting_provisioner(self._transport, now=dt.datetime.now(dt.UTC))
            except ApiError as error:
                log.info("conflict.check_failed", error=error.message)
            except Exception as error:  # an unreadable object must not end the controller
                log.exception("conflict.check_failed", error=repr(error))
        return found

    def _nodes_with_pools(self) -> list[str]:
        """Return the nodes whose labels name a pool, from the cache."""
        return [
            node["metadata"]["name"]
            for node in self._caches[NODE].all()
            if any(key.startswith(POOL_LABEL_PREFIX) for key in node["metadata"].get("labels") or {})
        ]
