"""
Publish free capacity for the scheduler: one CSIStorageCapacity for each class of Mooring and each pool that serves it.

They name the pool by the label of its node, so that they follow the disk. A pool that no driver reports has none, and
the scheduler does not choose its node. Where an admin configures the size of a new node's pool, one more for each class
matches the template nodes of cluster-autoscaler only.
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
from provisioner.model.errors import InvalidObjectError, InvalidParameterError
from provisioner.model.kinds import CSI_STORAGE_CAPACITY, NODE, STORAGE_CLASS, VOLUME, Json, Kind, Object
from provisioner.model.names import DRIVER, POOL_LABEL_PREFIX, POOL_PRESENT, TEMPLATE_NODE
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters, StorageClass

log = structlog.get_logger()

RESYNC_SECONDS = 10.0
ALL: Key = ("", "all")
DRIVER_LABEL = "csi.storage.k8s.io/drivername"
MANAGER_LABEL = "csi.storage.k8s.io/managed-by"
"""The labels by which external-provisioner and Mooring distinguish their objects."""
MANAGER = "mooring"
ONLY_TEMPLATE_NODES: Final = {"key": TEMPLATE_NODE, "operator": "Exists"}
"""The requirement of a label selector that only template nodes of cluster-autoscaler match."""
NOTABLE = 0.01
"""The share by which a pool's free capacity has to change before the object is updated."""


class PoolList(Protocol):
    """The calls to the drivers that this reconciler needs."""

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """Return the pools of all available drivers."""


class Capacity:
    """The reconciler of all capacity objects in `namespace`, with a single key."""

    name = "capacity"
    workers = 1

    def __init__(
        self, transport: Transport, caches: Caches, *, drivers: PoolList, namespace: str, template_bytes: int = 0
    ) -> None:
        """Set `template_bytes` to the free capacity of a new node of cluster-autoscaler; 0 for none."""
        self._template_bytes = template_bytes
        self._transport = transport
        self._caches = caches
        self._drivers = drivers
        self._namespace = namespace

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: classes, the pools of nodes, and created or deleted volumes."""
        return {
            STORAGE_CLASS: lambda _: [ALL],
            NODE: lambda _: [ALL],
            VOLUME: lambda _: [ALL],
            CSI_STORAGE_CAPACITY: lambda each: [ALL] if _is_managed(each) else (),
        }

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Create, update and delete capacity objects."""
        del key
        again = RequeueAfter(RESYNC_SECONDS, "free capacity changes without an event")
        try:
            pools = await self._drivers.list_pools()
        except DriverUnavailable:
            return again
        found = desired_objects(self._classes(), pools, namespace=self._namespace, template_bytes=self._template_bytes)
        desired = {each["metadata"]["name"]: each for each in found}
        present = {
            each["metadata"]["name"]: each
            for each in self._caches[CSI_STORAGE_CAPACITY].all(self._namespace)
            if _is_managed(each)
        }
        for name in present.keys() - desired.keys():
            await self._remove(name)
        for name, each in desired.items():
            await self._write(present.get(name), each)
        return again

    async def _write(self, before: Json | None, after: Json) -> None:
        if before is None:
            try:
                await self._transport.create(CSI_STORAGE_CAPACITY, after)
            except AlreadyExists:
                return  # the cache is stale; its next event triggers this key again
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
            except InvalidObjectError:
                continue  # its claims get an Event
            if found.is_managed:
                yield found


def desired_objects(
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
        except InvalidParameterError:
            continue  # its parameters are invalid
        for pool in usable:
            if parameters.backend in pool.backends and parameters.pool in {"", pool.name}:
                yield _of_pool(each.name, pool, namespace)
        if template_bytes:
            topology = {"matchExpressions": [dict(ONLY_TEMPLATE_NODES)]}
            identity = (each.name, ONLY_TEMPLATE_NODES["key"], ONLY_TEMPLATE_NODES["operator"])
            yield _object(each.name, namespace, topology=topology, identity=identity, free_bytes=template_bytes)


def foreign(objects: Iterable[Object]) -> str:
    """Return the problem when an external-provisioner has capacity objects of Mooring's driver; "" otherwise."""
    for each in objects:
        labels = each["metadata"].get("labels") or {}
        if labels.get(DRIVER_LABEL) == DRIVER and labels.get(MANAGER_LABEL) not in {MANAGER, None}:
            where = f"{each['metadata']['namespace']}/{each['metadata']['name']}"
            return (
                f"an {labels[MANAGER_LABEL]} serves the driver {DRIVER} too (CSIStorageCapacity {where}): two of them "
                "would each create a volume for every claim. Remove it, then its CSIStorageCapacity objects"
            )
    return ""


def _of_pool(class_name: str, pool: "inventory_pb2.Pool", namespace: str) -> Json:
    topology = {"matchLabels": {f"{POOL_LABEL_PREFIX}{pool.uuid}": POOL_PRESENT}, "matchExpressions": [dict(REAL_NODE)]}
    identity = (class_name, pool.uuid, REAL_NODE["key"])
    return _object(class_name, namespace, topology=topology, identity=identity, free_bytes=max(pool.available_bytes, 0))


def _object(class_name: str, namespace: str, *, topology: Json, identity: tuple[str, ...], free_bytes: int) -> Json:
    """Return a capacity object; its topology is immutable, so its name is a digest of `identity`."""
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
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


def _is_managed(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return labels.get(DRIVER_LABEL) == DRIVER and labels.get(MANAGER_LABEL) == MANAGER
