"""Connections of one command in the controller's pod: to the API server and all drivers, as the controller's own."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.cluster.discovery import DriverDiscovery
from provisioner.cluster.run import COMPONENT
from provisioner.cluster.trust import Trust
from provisioner.drivers.registry import DriverRegistry
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport

DRIVER_SERVICE = "mooring-driver"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@contextlib.asynccontextmanager
async def open_session(*, driver_service: str = DRIVER_SERVICE) -> AsyncIterator[tuple[KubeTransport, DriverRegistry]]:
    """Connect to the API server and to every driver that can be reached. Raise KubeconfigError and ApiError."""
    async with contextlib.AsyncExitStack() as open_:
        transport = await KubeTransport.in_cluster()
        open_.push_async_callback(transport.close)
        registry = DriverRegistry()
        open_.push_async_callback(registry.close)
        # unbounded: a file that kubelet writes, with one name
        namespace = OWN_NAMESPACE.read_text(encoding="utf-8").strip()
        discovery = DriverDiscovery(
            transport,
            registry,
            EventDeduplicator(Recorder(transport, COMPONENT)),
            trust=Trust(transport, namespace=namespace),
            namespace=namespace,
            service=driver_service,
        )
        await discovery.refresh()
        yield transport, registry
