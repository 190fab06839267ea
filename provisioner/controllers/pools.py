"""Reconcile pool labels of Nodes: ``pool.mooring.dev/<uuid>: present`` while the node's driver has a healthy pool."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import grpc
import structlog

from csi.v1 import inventory_pb2
from provisioner.drivers.client import DriverUnavailable
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.transport import Transport
from provisioner.model.kinds import NODE, Json, Kind
from provisioner.model.names import NODE_TOPOLOGY, POOL_LABEL_PREFIX, POOL_PRESENT

log = structlog.get_logger()

RESYNC_SECONDS = 5.0
DRIVER_UNAVAILABLE_SECONDS = 1.0


class Drivers(Protocol):
    """The calls to the drivers that this reconciler needs."""

    def nodes(self) -> Sequence[str]:
        """Return the nodes that have a driver."""

    async def pools_on(self, node: str) -> "list[inventory_pb2.Pool]":
        """Return the node's pools. Raises RpcError."""

    def moved_from(self, node: str) -> frozenset[str]:
        """Return the UUIDs of former pools of this node, whose driver is unavailable, that another node has now."""

    def forget(self, node: str) -> None:
        """Forget a deleted node."""


class Pools:
    """The reconciler of each node's pool labels, which stay while its driver is unavailable."""

    name = "pools"
    workers = 4

    def __init__(self, transport: Transport, caches: Caches, *, drivers: Drivers) -> None:
        self._transport = transport
        self._caches = caches
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the trigger: the node itself; its pools are also polled."""
        return {NODE: lambda node: [("", node["metadata"]["name"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one node: add and remove labels until they match the driver's pools."""
        name = key[1]
        node = self._caches[NODE].get(name)
        if node is None:
            self._drivers.forget(name)
            return Done()
        labels = node["metadata"].get("labels") or {}
        again = RequeueAfter(RESYNC_SECONDS, "pools change without an event")
        try:
            if name not in self._drivers.nodes():
                raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="no driver yet")
            changes = label_changes(labels, healthy(await self._drivers.pools_on(name)))
        except DriverUnavailable:
            changes = dict.fromkeys(sorted(pool_labels(self._drivers.moved_from(name)) & labels.keys()))
            again = RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, "the driver may become available")
        changes |= former_name(labels, name)
        if changes:
            patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"], "labels": changes}}
            await self._transport.patch(NODE, name, patch)
            log.info("node.pools_changed", node=name, changes=changes)
        return again


def healthy(pools: "Iterable[inventory_pb2.Pool]") -> frozenset[str]:
    """Return the UUIDs of the usable pools, without duplicate pools."""
    usable = [pool.uuid for pool in pools if pool.uuid and not pool.problem]
    return frozenset(uuid for uuid in usable if usable.count(uuid) == 1)


def former_name(labels: Mapping[str, str], name: str) -> dict[str, str | None]:
    """
    Return the merge patch that removes a renamed node's former name.

    The former driver pod may have registered with the new Node under the old name. Kubelet refuses a driver whose
    value differs from the label. Source: kubernetes, pkg/volume/csi/nodeinfomanager.
    """
    return {NODE_TOPOLOGY: None} if labels.get(NODE_TOPOLOGY, name) != name else {}


def label_changes(labels: Mapping[str, str], present: frozenset[str]) -> dict[str, str | None]:
    """Return the merge patch of the labels; None removes one."""
    desired = pool_labels(present)
    have = {key for key in labels if key.startswith(POOL_LABEL_PREFIX)}
    changes: dict[str, str | None] = dict.fromkeys(sorted(have - desired))
    changes |= {key: POOL_PRESENT for key in sorted(desired) if labels.get(key) != POOL_PRESENT}
    return changes


def pool_labels(uuids: Iterable[str]) -> set[str]:
    """Return the keys of the pools' labels."""
    return {f"{POOL_LABEL_PREFIX}{uuid}" for uuid in uuids}
