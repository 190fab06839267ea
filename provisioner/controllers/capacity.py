"""
Room for the scheduler: one CSIStorageCapacity for each class of ours and each pool that serves it.

They name the pool by the label that its node carries, so that they follow the disk. A pool that nobody reports has
none, and the scheduler passes over its node. Where an admin says how large the pool of a new node is, one more for each
class matches the template nodes of cluster-autoscaler, and no real one.
Source: Kubernetes, "Storage Capacity"; CSIDriver storageCapacity.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.actions.persistent_volume import REAL_NODE
from provisioner.drivers.client import DriverUnavailable
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import AlreadyExists, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.errors import InvalidObject, InvalidParameter
from provisioner.model.kinds import CSI_STORAGE_CAPACITY, NODE, STORAGE_CLASS, VOLUME, Json, Kind, Object
from provisioner.model.names import DRIVER, POOL_LABEL_PREFIX, POOL_PRESENT, TEMPLATE_NODE
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters, StorageClass

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 10.0
ALL: Key = ("", "all")
DRIVER_LABEL = "csi.storage.k8s.io/drivername"
MANAGER_LABEL = "csi.storage.k8s.io/managed-by"
"""external-provisioner's names, with which it and we tell our objects apart."""
MANAGER = "mooring"
IMAGINED_NODE: Final = {"key": TEMPLATE_NODE, "operator": "Exists"}
"""Requirement of a label selector: a template node of cluster-autoscaler, and no real one."""
NOTABLE = 0.01
"""A pool's room changes all the time; a change below this share is not worth a write."""


class PoolList(Protocol):
    """What this reconciler asks of the drivers."""

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """The pools of all drivers that answer."""


class Capacity:
    """One reconciler, with a single key: all capacity objects, kept in `namespace`."""

    name = "capacity"
    workers = 1

    def __init__(
        self, transport: Transport, caches: Caches, *, drivers: PoolList, namespace: str, template_bytes: int = 0
    ) -> None:
        """`template_bytes`: the free capacity that a new node of cluster-autoscaler is expected to have; 0 for none."""
        self._template_bytes = template_bytes
        self._transport = transport
        self._caches = caches
        self._drivers = drivers
        self._namespace = namespace

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """A class, a node's pools, and a volume that came or went change what there is."""
        return {
            STORAGE_CLASS: lambda _: [ALL],
            NODE: lambda _: [ALL],
            VOLUME: lambda _: [ALL],
            CSI_STORAGE_CAPACITY: lambda each: [ALL] if _ours(each) else (),
        }

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Write what changed, remove what is no more."""
        del key
        again = RequeueAfter(LOOK_AGAIN_SECONDS, "room comes and goes without an event")
        try:
            pools = await self._drivers.list_pools()
        except DriverUnavailable:
            return again
        found = wanted_objects(self._classes(), pools, namespace=self._namespace, template_bytes=self._template_bytes)
        wanted = {each["metadata"]["name"]: each for each in found}
        here = {
            each["metadata"]["name"]: each
            for each in self._caches[CSI_STORAGE_CAPACITY].all(self._namespace)
            if _ours(each)
        }
        for name in here.keys() - wanted.keys():
            await self._remove(name)
        for name, each in wanted.items():
            await self._write(here.get(name), each)
        return again

    async def _write(self, before: Json | None, after: Json) -> None:
        if before is None:
            try:
                await self._transport.create(CSI_STORAGE_CAPACITY, after)
            except AlreadyExists:
                return  # the cache lags; its news wakes this key again
        elif _differs(before["capacity"], after["capacity"]):
            name = after["metadata"]["name"]
            patch = {"capacity": after["capacity"]}
            await self._transport.patch(CSI_STORAGE_CAPACITY, name, patch, namespace=self._namespace)

    async def _remove(self, name: str) -> None:
        try:
            await self._transport.delete(CSI_STORAGE_CAPACITY, name, namespace=self._namespace)
        except NotFound:
            return

    def _classes(self) -> Iterable[StorageClass]:
        for each in self._caches[STORAGE_CLASS].all():
            try:
                found = StorageClass.of(each)
            except InvalidObject:
                continue  # its claims are told
            if found.ours:
                yield found


def wanted_objects(
    classes: Iterable[StorageClass], pools: "Iterable[inventory_pb2.Pool]", *, namespace: str, template_bytes: int = 0
) -> Iterable[Json]:
    """
    Yield one object for each class and each healthy pool that serves it.

    With `template_bytes`, one more for each class, for template nodes.
    """
    usable = [pool for pool in pools if pool.uuid and not pool.problem]
    for each in classes:
        try:
            parameters = ClassParameters.parse(each.parameters)
        except InvalidParameter:
            continue  # nothing can be made of it
        for pool in usable:
            if parameters.backend in pool.backends and parameters.pool in {"", pool.name}:
                yield _of_pool(each.name, pool, namespace)
        if template_bytes:
            topology = {"matchExpressions": [dict(IMAGINED_NODE)]}
            told = (each.name, IMAGINED_NODE["key"], IMAGINED_NODE["operator"])
            yield _object(each.name, namespace, topology=topology, told=told, free_bytes=template_bytes)


def foreign(objects: Iterable[Object]) -> str:
    """The sentence on capacity objects of our driver that an external-provisioner keeps; "" when there are none."""
    for each in objects:
        labels = each["metadata"].get("labels") or {}
        if labels.get(DRIVER_LABEL) == DRIVER and labels.get(MANAGER_LABEL) not in {MANAGER, None}:
            where = f"{each['metadata']['namespace']}/{each['metadata']['name']}"
            return (
                f"an {labels[MANAGER_LABEL]} serves the driver {DRIVER} too (CSIStorageCapacity {where}): two of them "
                "would each make a volume for every claim. Remove it, then its CSIStorageCapacity objects"
            )
    return ""


def _of_pool(class_name: str, pool: "inventory_pb2.Pool", namespace: str) -> Json:
    topology = {"matchLabels": {f"{POOL_LABEL_PREFIX}{pool.uuid}": POOL_PRESENT}, "matchExpressions": [dict(REAL_NODE)]}
    told = (class_name, pool.uuid, REAL_NODE["key"])
    return _object(class_name, namespace, topology=topology, told=told, free_bytes=max(pool.available_bytes, 0))


def _object(class_name: str, namespace: str, *, topology: Json, told: tuple[str, ...], free_bytes: int) -> Json:
    """One capacity object; its topology cannot be changed, so that its name is made of what `told` says of that."""
    digest = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    return {
        "metadata": {
            "name": f"mooring-{digest}",
            "namespace": namespace,
            "labels": {DRIVER_LABEL: DRIVER, MANAGER_LABEL: MANAGER},
        },
        "storageClassName": class_name,
        "nodeTopology": topology,
        "capacity": str(Quantity.of_bytes(free_bytes)),
    }


def _differs(before: str, after: str) -> bool:
    had, has = Quantity.parse(before).ceil_bytes, Quantity.parse(after).ceil_bytes
    return abs(had - has) > NOTABLE * had or (has == 0) != (had == 0)


def _ours(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return labels.get(DRIVER_LABEL) == DRIVER and labels.get(MANAGER_LABEL) == MANAGER
