"""
All drivers as one: each call goes to the node that has the pool, and questions about everything to all of them.

A volume's handle begins with its pool's UUID, so the disk is followed and not the node's name. A UUID that two nodes
report is a cloned disk, and is used on neither. The fleet is also the last fence: it makes no volume for a claim that
already had one, wherever that is.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import structlog

from csi.v1 import csi_pb2, inventory_pb2
from provisioner.binding.place import place
from provisioner.model.inventory import Pool
from provisioner.model.names import HOLDER_CLAIM_UID, NODE_TOPOLOGY
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters
from provisioner.router import Created, DriverAway, Expanded, Router, RpcError, fence

log = structlog.get_logger()

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Member:
    """One node's driver, and what it said last."""

    router: Router
    pools: list["inventory_pb2.Pool"] = field(default_factory=list)
    manifests: list["inventory_pb2.Manifest"] = field(default_factory=list)
    trash: list["inventory_pb2.TrashEntry"] = field(default_factory=list)


class Fleet:
    """Drivers by node. They may come and go at any time; make it inside a running event loop, and close it."""

    def __init__(self, drivers: Mapping[str, Router] | None = None) -> None:
        self._members: dict[str, Member] = {node: Member(router) for node, router in (drivers or {}).items()}

    def nodes(self) -> Sequence[str]:
        """The nodes that have a driver."""
        return sorted(self._members)

    def join(self, node: str, router: Router) -> "Router | None":
        """Take a driver in; the one that was there before on that node, which the caller closes."""
        before = self._members.get(node)
        self._members[node] = Member(router)
        if before is not None:
            self._members[node].pools, self._members[node].manifests = before.pools, before.manifests
            self._members[node].trash = before.trash
        return before.router if before else None

    def leave(self, node: str) -> "Router | None":
        """Forget a driver; the caller closes it."""
        member = self._members.pop(node, None)
        return member.router if member else None

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(member.router.close() for member in self._members.values()))

    async def pools_on(self, node: str) -> "list[inventory_pb2.Pool]":
        """The node's pools; one that another node reports, too, has a problem on both. Raises RpcError."""
        member = self._member(node)
        member.pools = await member.router.list_pools()
        seen = Counter(pool.uuid for each in self._members.values() for pool in each.pools)
        for pool in member.pools:
            if seen[pool.uuid] > 1:
                nodes = [name for name, each in self._members.items() if pool.uuid in {one.uuid for one in each.pools}]
                pool.problem = f"pool {pool.uuid} is on {' and '.join(sorted(nodes))}: one disk is a copy of the other"
        return member.pools

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """All pools of all drivers that answer."""
        found = await self._each(self.pools_on)
        return [pool for pools in found.values() for pool in pools]

    async def capacity_on(self, node: str, *, parameters: Mapping[str, str]) -> int:
        """Bytes that volumes of these parameters may still promise there. Raises RpcError."""
        return await self._member(node).router.capacity(parameters=parameters, segments={NODE_TOPOLOGY: node})

    async def create_volume(
        self,
        *,
        name: str,
        required_bytes: int,
        capabilities: Sequence[csi_pb2.VolumeCapability],
        parameters: Mapping[str, str],
        mutable_parameters: Mapping[str, str],
        segments: Mapping[str, str],
        may_have_former: bool,
    ) -> Created:
        """As Router's, on the node that the segments name, or on the one with the most room. Raises RpcError."""
        if may_have_former:
            await fence(self, name, parameters)
        node = segments.get(NODE_TOPOLOGY) or await self._place(name, required_bytes, parameters)
        return await self._member(node).router.create_volume(
            name=name,
            required_bytes=required_bytes,
            capabilities=capabilities,
            parameters=parameters,
            mutable_parameters=mutable_parameters,
            segments={NODE_TOPOLOGY: node},
            may_have_former=False,
        )

    async def _place(self, name: str, required_bytes: int, parameters: Mapping[str, str]) -> str:
        """The node where an earlier try began, else that of the pool with the most room."""
        begun = await self.list_manifests({HOLDER_CLAIM_UID: parameters.get(HOLDER_CLAIM_UID, "")})
        for manifest in begun:
            if manifest.csi_name == name:
                return self._node_of(manifest.pool_uuid)
        found = await self._each(self.pools_on)
        own = {key: value for key, value in parameters.items() if not key.startswith("mooring.dev/")}
        pools = [
            Pool(
                uuid=pool.uuid,
                name=pool.name,
                node=node,
                capacity_bytes=pool.capacity_bytes,
                available_bytes=pool.available_bytes,
                backends=tuple(pool.backends),
                problem=pool.problem,
            )
            for node, pools in found.items()
            for pool in pools
        ]
        chosen = place(Quantity.of_bytes(required_bytes), parameters=ClassParameters.parse(own), pools=pools)
        if not isinstance(chosen, Pool):
            raise RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message=chosen.sentence)
        return chosen.node

    async def delete_volume(self, handle: str) -> None:
        """See Router."""
        await (await self._holder(handle)).delete_volume(handle)

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """See Router."""
        router = await self._holder(handle)
        return await router.expand_volume(handle, required_bytes=required_bytes, capability=capability)

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """See Router."""
        await (await self._holder(handle)).modify_volume(handle, parameters)

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """See Router."""
        await (await self._holder(handle)).record_holder(handle, labels)

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """See Router."""
        return await (await self._holder(handle)).undelete(handle)

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """Of all drivers; for one that does not answer, what it said the last time it was asked for everything."""

        async def ask(node: str) -> "list[inventory_pb2.Manifest]":
            member = self._member(node)
            found = await member.router.list_manifests(labels)
            if not labels:
                member.manifests = found
            return found

        found = await self._each(ask, instead=lambda member: [m for m in member.manifests if _has(m, labels)])
        return [each for manifests in found.values() for each in manifests]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """As above."""

        async def ask(node: str) -> "list[inventory_pb2.TrashEntry]":
            member = self._member(node)
            found = await member.router.list_trash(labels)
            if not labels:
                member.trash = found
            return found

        found = await self._each(ask, instead=lambda member: [e for e in member.trash if _has(e.manifest, labels)])
        return [each for entries in found.values() for each in entries]

    async def _each(
        self,
        ask: Callable[[str], Awaitable[Answer]],
        *,
        instead: Callable[[Member], Answer] | None = None,
    ) -> dict[str, Answer]:
        """Ask all at once. One that is away is left out, or answered for by `instead`."""
        nodes = self.nodes()
        answers = await asyncio.gather(*(ask(node) for node in nodes), return_exceptions=True)
        found: dict[str, Answer] = {}
        for node, answer in zip(nodes, answers, strict=True):
            if not isinstance(answer, BaseException):
                found[node] = answer
            elif not isinstance(answer, RpcError):
                raise answer
            elif len(nodes) == 1:
                raise answer  # nobody else could know
            elif instead is not None and node in self._members:
                found[node] = instead(self._members[node])
        return found

    async def _holder(self, handle: str) -> Router:
        """The driver that has the volume's pool. Raises DriverAway."""
        uuid = handle.partition(".")[0]
        try:
            return self._member(self._node_of(uuid)).router
        except DriverAway:
            await self._each(self.pools_on)
            return self._member(self._node_of(uuid)).router

    def _node_of(self, uuid: str) -> str:
        nodes = [node for node, each in self._members.items() if uuid in {pool.uuid for pool in each.pools}]
        if len(nodes) == 1:
            return nodes[0]
        if nodes:
            message = f"pool {uuid} is on {' and '.join(sorted(nodes))}: one disk is a copy of the other; take one away"
        else:
            message = f"no node reports pool {uuid}: its node or its disk is away"
        raise DriverAway(code=grpc.StatusCode.UNAVAILABLE, message=message)

    def _member(self, node: str) -> Member:
        member = self._members.get(node)
        if member is None:
            message = f"node {node} has no driver that can be reached; look at the pod of mooring-driver there"
            raise DriverAway(code=grpc.StatusCode.UNAVAILABLE, message=message)
        return member


def _has(manifest: "inventory_pb2.Manifest", labels: Mapping[str, str] | None) -> bool:
    return (labels or {}).items() <= dict(manifest.holder.labels).items()
