"""
Record the owner of each bound volume in annotations of its PersistentVolume, then in the driver's manifest.

The manifest survives the loss of the API server. Each bound volume is sent to the driver once after this process
started; the driver ignores a known owner.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.actions.ownership_labels import annotations_of, history_with, holder_labels, labels_of
from provisioner.actions.persistent_volume import managed_by_us
from provisioner.drivers.client import DriverUnavailable
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, STATEFUL_SET, VOLUME, Json, Kind, Object
from provisioner.model.names import (
    HISTORY,
    HOLDER_CLAIM,
    HOLDER_NAMESPACE,
    RECOVERED,
    RELEASED,
)
from provisioner.model.stateful_set import StatefulSet
from provisioner.observe.cluster_uid import cluster_uid
from provisioner.observe.triggers import OF_POOL, pools_of_node, pools_of_volume

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5
DISK_UNAVAILABLE_SECONDS = 60.0
"""The retry interval for a volume on an unavailable disk, since each attempt queries all drivers."""


class Records(Protocol):
    """The calls to the driver that this reconciler needs."""

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """Record the owner in the manifest."""


class Ownership:
    """The reconciler of the owner record of a bound volume."""

    name = "ownership"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, *, drivers: Records) -> None:
        self._transport = transport
        self._caches = caches
        self._drivers = drivers
        self._acknowledged: dict[str, Mapping[str, str]] = {}
        caches[VOLUME].add_index(OF_POOL, pools_of_volume)

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the volume, its claim, the claim's set, and the node of its disk."""
        return {
            VOLUME: lambda volume: [("", volume["metadata"]["name"])],
            CLAIM: lambda claim: [("", claim["spec"]["volumeName"])] if claim["spec"].get("volumeName") else (),
            STATEFUL_SET: self._of_set,
            NODE: self._of_node,
        }

    def _of_node(self, node: Json) -> Iterable[Key]:
        for uuid in pools_of_node(node):
            for volume in self._caches[VOLUME].by(OF_POOL, uuid):
                if {RELEASED, RECOVERED} & (volume["metadata"].get("annotations") or {}).keys():
                    yield "", volume["metadata"]["name"]

    def _of_set(self, stateful_set: Json) -> Iterable[Key]:
        namespace, owner = stateful_set["metadata"]["namespace"], StatefulSet.of(stateful_set)
        for claim in self._caches[CLAIM].all(namespace):
            if claim["spec"].get("volumeName") and owner.ordinal_of(claim["metadata"]["name"]):
                yield "", claim["spec"]["volumeName"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one volume: record its owner where it is not recorded yet."""
        volume = self._caches[VOLUME].get(key[1])
        if volume is None:
            self._acknowledged.pop(key[1], None)
            return Done()
        ref = volume["spec"].get("claimRef") or {}
        annotations = volume["metadata"].get("annotations") or {}
        if not managed_by_us(volume) or not ref.get("uid"):
            return Done()
        bound = volume.get("status", {}).get("phase") == "Bound"
        if RELEASED in annotations or (RECOVERED in annotations and not bound):
            labels = labels_of(volume, cluster_uid=cluster_uid(self._caches))
            return await self._record_owner(volume, labels, again=DISK_UNAVAILABLE_SECONDS)
        if not bound:
            return Done()
        claim = self._caches[CLAIM].get(ref["name"], ref["namespace"])
        namespace = self._caches[NAMESPACE].get(ref["namespace"])
        if claim is None or namespace is None or claim["metadata"]["uid"] != ref["uid"]:
            return Done()
        labels = holder_labels(
            claim,
            namespace_uid=namespace["metadata"]["uid"],
            cluster_uid=cluster_uid(self._caches),
            sets=self._caches[STATEFUL_SET].all(ref["namespace"]),
            before=annotations,
            policy=volume["spec"].get("persistentVolumeReclaimPolicy", "Retain"),
            attributes_class=volume["spec"].get("volumeAttributesClassName") or "",
        )
        expected = annotations_of(labels) | {HISTORY: history_with(labels, before=annotations.get(HISTORY, ""))}
        if any(annotations.get(name) != value for name, value in expected.items()):
            patch = {
                "metadata": {"resourceVersion": volume["metadata"]["resourceVersion"], "annotations": expected},
            }
            await self._transport.patch(VOLUME, key[1], patch)
            return Done()  # the changed volume triggers this key again
        return await self._record_owner(volume, labels, again=DRIVER_UNAVAILABLE_SECONDS)

    async def _record_owner(self, volume: Object, labels: Mapping[str, str], *, again: float) -> Done | RequeueAfter:
        """Have the driver record the owner, once."""
        name = volume["metadata"]["name"]
        if self._acknowledged.get(name) != labels:
            try:
                await self._drivers.record_holder(volume["spec"]["csi"]["volumeHandle"], labels)
            except DriverUnavailable as error:
                return RequeueAfter(again, error.message)
            self._acknowledged[name] = labels
            log.info("owner.recorded", volume=name, claim=f"{labels.get(HOLDER_NAMESPACE)}/{labels.get(HOLDER_CLAIM)}")
        return Done()
