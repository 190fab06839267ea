"""Pools as Node labels: ``pool.mooring.dev/<uuid>: present`` while the node's driver has the pool, healthy."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.transport import Transport
from provisioner.model.kinds import NODE, Json, Kind
from provisioner.model.names import POOL_LABEL_PREFIX, POOL_PRESENT

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 15.0


class PoolList(Protocol):
    """What this reconciler asks of the driver."""

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """The node's pools."""


class Pools:
    """One reconciler: the pool labels of the node whose driver `router` reaches."""

    name = "pools"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, *, router: PoolList, node: str) -> None:
        self._transport = transport
        self._caches = caches
        self._router = router
        self._node = node

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """A node wakes itself; a driver's pools are looked at again in between."""
        return {NODE: lambda node: [("", node["metadata"]["name"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Add and remove labels until they say what the driver says."""
        node = self._caches[NODE].get(key[1])
        if node is None or key[1] != self._node:
            return Done()
        present = healthy(await self._router.list_pools())
        changes = label_changes(node["metadata"].get("labels") or {}, present)
        if changes:
            await self._transport.patch(NODE, key[1], {"metadata": {"labels": changes}})
            log.info("node.pools", node=key[1], pools=sorted(present))
        return RequeueAfter(LOOK_AGAIN_SECONDS, "a pool may come or go without an event")


def healthy(pools: "Iterable[inventory_pb2.Pool]") -> frozenset[str]:
    """UUIDs of the pools that can be used; one that is reported twice is a cloned disk and counts as none."""
    seen = [pool.uuid for pool in pools if pool.uuid and not pool.problem]
    return frozenset(uuid for uuid in seen if seen.count(uuid) == 1)


def label_changes(labels: Mapping[str, str], present: frozenset[str]) -> dict[str, str | None]:
    """The merge patch of the labels: None removes."""
    wanted = {f"{POOL_LABEL_PREFIX}{uuid}" for uuid in present}
    have = {key for key in labels if key.startswith(POOL_LABEL_PREFIX)}
    changes: dict[str, str | None] = dict.fromkeys(sorted(have - wanted))
    changes |= {key: POOL_PRESENT for key in sorted(wanted) if labels.get(key) != POOL_PRESENT}
    return changes
