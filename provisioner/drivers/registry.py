"""
The registry of all drivers: a call for a volume goes to the node that has its pool, a list request to every driver.

A volume's handle begins with its pool's UUID, so that calls follow the disk and not the node's name. A UUID that two
nodes report is a duplicate pool, which is used on neither. The registry is also the fence: it creates no volume for a
claim that has a former volume on any node.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import structlog

from csi.v1 import csi_pb2, inventory_pb2
from provisioner.binding.matching.place import place
from provisioner.drivers.client import (
    Created,
    DriverClient,
    DriverUnavailable,
    Expanded,
    FormerVolumeError,
    RpcError,
    VolumeRequest,
)
from provisioner.model.inventory import Pool
from provisioner.model.names import HOLDER_CLAIM, HOLDER_CLAIM_UID, HOLDER_NAMESPACE_UID, RELEASED
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters

log = structlog.get_logger()

Answer = TypeVar("Answer")

_UNAVAILABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_RESERVED = "mooring.dev/"
"""Prefix of the parameters with the labels of a volume's holder."""


@dataclass(slots=True)
class Member:
    """One node's driver and its last inventory; None where it has reported none. Without a client it is unavailable."""

    client: DriverClient | None
    answers: bool = False
    pools: list["inventory_pb2.Pool"] = field(default_factory=list)
    manifests: list["inventory_pb2.Manifest"] | None = None
    trash: list["inventory_pb2.TrashEntry"] | None = None

    @property
    def synced(self) -> bool:
        """Whether the driver has reported both manifests and trash, where a former volume may be."""
        return self.manifests is not None and self.trash is not None

    @property
    def pool_uuids(self) -> frozenset[str]:
        """UUIDs of the pools without a problem."""
        return frozenset(pool.uuid for pool in self.pools if not pool.problem)


class DriverRegistry:
    """
    Drivers by node, which may join and leave at any time. Create it inside a running event loop, and close it.

    The last inventory of a driver is cached while it is unavailable. `expected` returns the nodes that have pools by
    their labels: until each of them has synced, a claim may have a former volume that is not known yet. The inventory
    of a node for which `gone` is true is ignored.
    """

    def __init__(
        self,
        drivers: Mapping[str, DriverClient] | None = None,
        *,
        expected: Callable[[], Iterable[str]] = tuple,
        gone: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._members: dict[str, Member] = {node: Member(client) for node, client in (drivers or {}).items()}
        self._expected = expected
        self._gone = gone

    def nodes(self) -> Sequence[str]:
        """Return the nodes that have a driver."""
        return sorted(node for node, member in self._members.items() if member.client is not None)

    def answers(self, node: str) -> bool:
        """Report whether the node's driver responded to the last request for its pools."""
        return node in self._members and self._members[node].answers

    def join(self, node: str, client: DriverClient) -> "DriverClient | None":
        """Add the driver of a node; return the client that it replaces, which the caller closes."""
        member = self._members.setdefault(node, Member(None))
        before, member.client = member.client, client
        return before

    def leave(self, node: str) -> "DriverClient | None":
        """Remove the driver of a node but keep its inventory; return the client, which the caller closes."""
        member = self._members.get(node)
        if member is None:
            return None
        before, member.client, member.answers = member.client, None, False
        return before

    def forget(self, node: str) -> None:
        """Remove the inventory of a node that no longer exists."""
        if (member := self._members.get(node)) is not None and member.client is None:
            del self._members[node]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(each.client.close() for each in self._members.values() if each.client is not None))

    async def refresh(self) -> None:
        """Request and cache the inventory of every driver, for when a driver is unavailable."""
        for ask in (self.list_pools, self.list_manifests, self.list_trash):
            with contextlib.suppress(RpcError):
                await ask()

    async def pools_on(self, node: str) -> "list[inventory_pb2.Pool]":
        """Return the node's pools; a duplicate pool has a problem. Raise RpcError."""
        return [self._evaluated(pool) for pool in await self._reported(node)]

    async def _reported(self, node: str) -> "list[inventory_pb2.Pool]":
        """Request the node's pools; the earlier response counts until a request fails. Raise RpcError."""
        member, client = self._connected(node)
        try:
            member.pools = await client.list_pools()
        except RpcError:
            member.answers = False
            raise
        member.answers = member.client is client  # the driver may have left meanwhile
        return member.pools

    async def _all_pools(self) -> "dict[str, list[inventory_pb2.Pool]]":
        """Return the pools by node, evaluated after all responses: else the first of two duplicates would pass."""
        found = await self._ask_all(self._reported)
        return {node: [self._evaluated(pool) for pool in pools] for node, pools in found.items()}

    def _evaluated(self, pool: "inventory_pb2.Pool") -> "inventory_pb2.Pool":
        nodes = self._nodes_of(pool.uuid)
        if pool.problem or len(nodes) < 2:
            return pool
        duplicate = inventory_pb2.Pool()
        duplicate.CopyFrom(pool)
        duplicate.problem = f"pool {pool.uuid} is on {' and '.join(nodes)}: one disk is a copy of the other"
        return duplicate

    def moved_from(self, node: str) -> frozenset[str]:
        """Return the UUIDs of pools that other drivers report, for a node whose own driver does not respond."""
        member = self._members.get(node)
        if member is None or member.answers:
            return frozenset()
        return frozenset(uuid for each in self._answering() for uuid in each.pool_uuids)

    def reporting(self, pool: str) -> Sequence[str]:
        """Return the nodes whose drivers respond and report the pool: more than one for a duplicate pool."""
        return sorted(node for node, each in self._members.items() if each.answers and pool in each.pool_uuids)

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """Return the pools of all drivers that respond."""
        return [pool for pools in (await self._all_pools()).values() for pool in pools]

    async def pools_by_node(self) -> "dict[str, list[inventory_pb2.Pool]]":
        """Return the pools of every node whose driver responds. Raise RpcError when the only driver does not."""
        return await self._all_pools()

    async def create_volume(
        self, desired: VolumeRequest, *, may_have_former: bool, candidates: Container[str] | None = None
    ) -> Created:
        """
        Create or find the volume: on the requested node, or else on the candidate with most free capacity.

        With `may_have_former` (the class adopts), raise FormerVolumeError and create nothing when the claim has a
        former volume, also in the trash. Raise RpcError for any other error.
        """
        if may_have_former:
            await self._fence(desired.name, desired.parameters)
        node = desired.node
        started = await self._started(desired) if len(self._members) > 1 else None
        if started is not None:
            pool_node = await self._node_with_pool(started.pool_uuid)
            if node not in {"", pool_node}:
                await self.delete_volume(started.volume_id)  # rescheduled; no claim has that volume
            node = node or pool_node
        client = self._connected(node or await self._choose_node(desired, candidates))[1]
        return await client.create_volume(desired)

    async def _fence(self, name: str, parameters: Mapping[str, str]) -> None:
        """Raise FormerVolumeError for a claim that has a former volume."""
        labels = {key: parameters[key] for key in (HOLDER_NAMESPACE_UID, HOLDER_CLAIM) if key in parameters}
        if len(labels) < 2:
            raise RpcError(
                code=grpc.StatusCode.FAILED_PRECONDITION,
                message=f"the request for volume {name} has no labels of its claim; no volume is created",
            )
        for manifest in await self.list_manifests(labels):
            if _is_former(manifest, name):
                raise FormerVolumeError(manifest.volume_id, in_trash=False)
        for entry in await self.list_trash(labels):
            if _is_former(entry.manifest, name):
                raise FormerVolumeError(entry.manifest.volume_id, in_trash=True)

    async def _started(self, desired: VolumeRequest) -> "inventory_pb2.Manifest | None":
        """Return the manifest of an earlier attempt to create the volume, on any node."""
        if HOLDER_CLAIM_UID not in desired.parameters:
            return None
        found = await self.list_manifests({HOLDER_CLAIM_UID: desired.parameters[HOLDER_CLAIM_UID]})
        return next((manifest for manifest in found if manifest.csi_name == desired.name), None)

    async def _choose_node(self, desired: VolumeRequest, candidates: Container[str] | None) -> str:
        """Return the node of the pool with most free capacity. Raise RpcError."""
        found = await self._all_pools()
        own = {key: value for key, value in desired.parameters.items() if not key.startswith(_RESERVED)}
        pools = [
            pool_view(pool, node=node)
            for node, pools in found.items()
            for pool in pools
            if candidates is None or node in candidates
        ]
        chosen = place(Quantity.of_bytes(desired.required_bytes), parameters=ClassParameters.parse(own), pools=pools)
        if not isinstance(chosen, Pool):
            raise RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message=chosen.message)
        return chosen.node

    async def delete_volume(self, handle: str) -> None:
        """See DriverClient."""
        await (await self._driver_of(handle)).delete_volume(handle)

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """See DriverClient."""
        client = await self._driver_of(handle)
        return await client.expand_volume(handle, required_bytes=required_bytes, capability=capability)

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """See DriverClient."""
        await (await self._driver_of(handle)).modify_volume(handle, parameters)

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """See DriverClient."""
        await (await self._driver_of(handle)).record_holder(handle, labels)

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """See DriverClient."""
        return await (await self._driver_of(handle)).undelete(handle)

    async def used_at(self, handle: str) -> str:
        """See DriverClient."""
        return await (await self._driver_of(handle)).used_at(handle)

    async def purge(self, handle: str, *, deleted_before: int) -> int:
        """Purge one handle; see DriverClient."""
        return await (await self._driver_of(handle)).purge(handle, deleted_before=deleted_before)

    async def import_volume(
        self, node: str, *, name: str, item: str, pool: str, required_bytes: int, raw: bool, labels: Mapping[str, str]
    ) -> "inventory_pb2.Manifest":
        """Import on this node; see DriverClient."""
        client = self._connected(node)[1]
        return await client.import_volume(
            name=name, item=item, pool=pool, required_bytes=required_bytes, raw=raw, labels=labels
        )

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """
        List the manifests of all drivers; for one that is unavailable, those of its last response.

        Raise DriverUnavailable until every expected driver has synced.
        """

        async def ask(node: str) -> "list[inventory_pb2.Manifest]":
            member, client = self._connected(node)
            found = await client.list_manifests(labels)
            if not labels:
                member.manifests = found
            return found

        found = await self._ask_all(ask)
        for node, member in self._unavailable(found):
            cached = (each for each in member.manifests or () if not self._is_elsewhere(each))
            found[node] = [each for each in cached if _has(each, labels)]
        return [each for manifests in found.values() for each in manifests]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """List the trash of all drivers, by the same rules as `list_manifests`."""

        async def ask(node: str) -> "list[inventory_pb2.TrashEntry]":
            member, client = self._connected(node)
            found = await client.list_trash(labels)
            if not labels:
                member.trash = found
            return found

        found = await self._ask_all(ask)
        for node, member in self._unavailable(found):
            cached = (each for each in member.trash or () if not self._is_elsewhere(each.manifest))
            found[node] = [each for each in cached if _has(each.manifest, labels)]
        return [each for entries in found.values() for each in entries]

    def _is_elsewhere(self, manifest: "inventory_pb2.Manifest") -> bool:
        """Report whether the disk was moved to a node whose driver responds, and which reports the manifest itself."""
        return any(manifest.pool_uuid in each.pool_uuids for each in self._answering())

    def _answering(self) -> list[Member]:
        return [each for each in self._members.values() if each.answers]

    def _unavailable(self, found: Mapping[str, object]) -> list[tuple[str, Member]]:
        """Return the members without a response. Raise DriverUnavailable for an expected node that never synced."""
        for node in self._expected():
            if node not in found and not (node in self._members and self._members[node].synced):
                message = (
                    f"node {node} has a pool, and its driver has not reported its volumes: it may have the claim's. "
                    "Start the driver on that node, or delete the Node object when the node will not come back"
                )
                raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message=message)
        unavailable = ((node, member) for node, member in self._members.items() if node not in found)
        return [(node, member) for node, member in unavailable if not self._gone(node)]

    async def _ask_all(self, ask: Callable[[str], Awaitable[Answer]]) -> dict[str, Answer]:
        """Call `ask` for all nodes concurrently; leave out unavailable drivers. Raise RpcError for any other error."""
        nodes = self.nodes()
        answers = await asyncio.gather(*(ask(node) for node in nodes), return_exceptions=True)
        found: dict[str, Answer] = {}
        for node, answer in zip(nodes, answers, strict=True):
            if not isinstance(answer, BaseException):
                found[node] = answer
            elif not isinstance(answer, RpcError) or answer.code not in _UNAVAILABLE or len(self._members) == 1:
                raise answer
            elif node in self._members:
                self._members[node].answers = False
        return found

    async def _driver_of(self, handle: str) -> DriverClient:
        """Return the client of the driver that has the volume's pool. Raise DriverUnavailable."""
        return self._connected(await self._node_with_pool(handle.partition(".")[0]))[1]

    async def _node_with_pool(self, uuid: str) -> str:
        """Return the node that has the pool; ask all drivers if needed. Raise DriverUnavailable."""
        if len(self._members) == 1:
            return next(iter(self._members))
        with contextlib.suppress(DriverUnavailable):
            return self._node_of(uuid)
        await self._ask_all(self._reported)
        return self._node_of(uuid)

    def _nodes_of(self, uuid: str) -> list[str]:
        """Return the nodes that have the pool: of drivers that respond, or else by their last response."""
        reporters = {node: each for node, each in self._members.items() if uuid in each.pool_uuids}
        return sorted(node for node, each in reporters.items() if each.answers) or sorted(reporters)

    def _node_of(self, uuid: str) -> str:
        nodes = self._nodes_of(uuid)
        if len(nodes) == 1:
            return nodes[0]
        if nodes:
            message = f"pool {uuid} is on {' and '.join(nodes)}: one disk is a copy of the other; remove one of them"
        else:
            message = f"no node reports pool {uuid}: its node or its disk is unavailable"
        raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message=message)

    def _connected(self, node: str) -> tuple[Member, DriverClient]:
        member = self._members.get(node)
        if member is None or member.client is None:
            message = f"node {node} has no driver that can be reached; check the pod of mooring-driver on that node"
            raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message=message)
        return member, member.client


def _is_former(manifest: "inventory_pb2.Manifest", name: str) -> bool:
    """Report whether the manifest is a former volume, other than `name` itself: finished, and not released for good."""
    return bool(manifest.csi_name != name and manifest.state != "creating" and RELEASED not in manifest.holder.labels)


def _has(manifest: "inventory_pb2.Manifest", labels: Mapping[str, str] | None) -> bool:
    return (labels or {}).items() <= dict(manifest.holder.labels).items()


def pool_view(pool: "inventory_pb2.Pool", *, node: str) -> Pool:
    """Return a driver's pool message as the plain value of the decision layer."""
    return Pool(
        uuid=pool.uuid,
        name=pool.name,
        node=node,
        capacity_bytes=pool.capacity_bytes,
        available_bytes=pool.available_bytes,
        backends=tuple(pool.backends),
        problem=pool.problem,
    )
