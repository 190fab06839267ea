"""Discovery of the cluster's drivers by the EndpointSlices of their headless Service, for the driver registry."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import structlog

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.cluster.authority import ClientCertificate
from provisioner.cluster.key_pins import SERVER_NAME, KeyChangedError, Pins, UnreachableError, fetch_certificate
from provisioner.cluster.trust import Trust
from provisioner.drivers.client import DriverClient, RpcError
from provisioner.drivers.registry import DriverRegistry
from provisioner.kube.errors import ApiError
from provisioner.kube.loops import forever
from provisioner.kube.transport import Transport
from provisioner.model.kinds import ENDPOINT_SLICE, NODE, Json

log = structlog.get_logger()

REFRESH_SECONDS = 1.0
PORT = "csi"
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Address:
    """The address at which a driver listens."""

    host: str
    port: int

    @property
    def target(self) -> str:
        """The address as a gRPC target."""
        return f"ipv6:[{self.host}]:{self.port}" if ":" in self.host else f"ipv4:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Contact:
    """The parameters of a connection; when one of them changes, the driver is connected again."""

    address: Address
    driver_certificate: bytes
    client_certificate: ClientCertificate


class DriverDiscovery:
    """Updates the driver registry from the EndpointSlices."""

    def __init__(
        self,
        transport: Transport,
        registry: DriverRegistry,
        events: EventDeduplicator,
        *,
        trust: Trust,
        namespace: str,
        service: str,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._events = events
        self._trust = trust
        self._pins = Pins(transport, namespace=namespace)
        self._namespace = namespace
        self._service = service
        self._contacts: dict[str, Contact] = {}

    async def run(self) -> None:
        """Refresh every second until cancelled."""
        await forever("drivers", self._turn)

    async def _turn(self) -> None:
        try:
            await self.refresh()
        except ApiError as error:
            log.warning("drivers.refresh_failed", error=error.message)
        await asyncio.sleep(REFRESH_SECONDS)

    async def refresh(self) -> None:
        """Connect to drivers that are new or moved, and disconnect those that are gone. Raise ApiError."""
        client_certificate = await self._trust.certificate()
        selector = f"{SERVICE_LABEL}={self._service}"
        slices = await self._transport.list(ENDPOINT_SLICE, namespace=self._namespace, label_selector=selector)
        found = addresses(slices.items)
        for node in set(self._contacts) - set(found):
            await self._disconnect(node)
        await asyncio.gather(
            *(self._ensure_connected(node, address, client_certificate) for node, address in found.items())
        )

    async def _ensure_connected(self, node: str, address: Address, client_certificate: ClientCertificate) -> None:
        """Connect to one driver, unless its connection works and has the same address and certificate."""
        known = self._contacts.get(node)
        if (
            known is not None
            and (known.address, known.client_certificate) == (address, client_certificate)
            and self._registry.answers(node)
        ):
            return
        try:
            driver_certificate = await fetch_certificate(address.host, address.port)
            await self._pins.check(node, driver_certificate)
        except UnreachableError as error:
            log.debug("driver.unreachable", node=node, error=str(error))
            return  # for a known driver, gRPC keeps trying
        except KeyChangedError as error:
            await self._disconnect(node)
            await self._report(node, str(error))
            return
        contact = Contact(address, driver_certificate, client_certificate)
        if contact != known:
            await self._connect(node, contact)

    async def _connect(self, node: str, contact: Contact) -> None:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=ssl.DER_cert_to_PEM_cert(contact.driver_certificate).encode(),
            private_key=contact.client_certificate.key,
            certificate_chain=contact.client_certificate.chain,
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        former = self._registry.join(
            node, DriverClient(contact.address.target, credentials=credentials, options=options)
        )
        self._contacts[node] = contact
        log.info("driver.found", node=node, address=contact.address.target)
        if former is not None:
            await former.close()
        with contextlib.suppress(RpcError):
            await self._registry.pools_on(node)

    async def _disconnect(self, node: str) -> None:
        self._contacts.pop(node, None)
        if former := self._registry.leave(node):
            log.info("driver.gone", node=node)
            await former.close()

    async def _report(self, node: str, message: str) -> None:
        """Record an Event on the Node, where an admin looks, and log it; once for each key."""
        try:
            found = await self._transport.get(NODE, node)
        except ApiError:
            return
        if await self._events.report(found, warning=True, reason="DriverKeyChanged", message=message):
            log.error("driver.refused", node=node, error=message)


def addresses(slices: list[Json]) -> Mapping[str, Address]:
    """Return node → driver's address; of two on one node, as during an update, the one that is not terminating."""
    found: dict[str, tuple[bool, Address]] = {}
    for each in slices:
        port = next((one["port"] for one in each.get("ports") or () if one.get("name") == PORT and one.get("port")), 0)
        for endpoint in each.get("endpoints") or ():
            node, hosts = endpoint.get("nodeName"), endpoint.get("addresses") or ()
            if not node or not hosts or not port:
                continue
            ending = bool((endpoint.get("conditions") or {}).get("terminating"))
            if node not in found or found[node][0] > ending:
                found[node] = (ending, Address(str(hosts[0]), int(port)))
    return {node: address for node, (_, address) in found.items()}
