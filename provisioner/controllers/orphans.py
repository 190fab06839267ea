"""
Volumes that were made for a claim which went before their PersistentVolume was saved.

external-provisioner leaks them when it stops at that moment. The driver's manifest tells whose they were: those whose
policy is Delete go to the trash, and so do those that nobody ever got because their making was interrupted. Others are
retained, and their claim finds them when it comes back.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.drivers.client import DriverUnavailable
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, NAMESPACE, VOLUME, Json, Kind
from provisioner.model.names import (
    HOLDER_CLAIM,
    HOLDER_CLAIM_UID,
    HOLDER_CLUSTER_UID,
    HOLDER_NAMESPACE,
    HOLDER_RECLAIM_POLICY,
)
from provisioner.observe.cluster_uid import CLUSTER_NAMESPACE, cluster_uid

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 60.0


class Driver(Protocol):
    """What this reconciler asks of the driver."""

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """The volumes whose holder has these labels."""

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash."""


class Orphans:
    """One reconciler: the volumes of this cluster on all nodes."""

    name = "orphans"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, *, drivers: Driver) -> None:
        self._transport = transport
        self._caches = caches
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """The cluster, to begin with; after that only time."""
        return {
            NAMESPACE: lambda each: [("", CLUSTER_NAMESPACE)] if each["metadata"]["name"] == CLUSTER_NAMESPACE else ()
        }

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Delete what has neither an object nor a claim any more, asked live."""
        cluster = cluster_uid(self._caches)
        if key[1] != CLUSTER_NAMESPACE or not cluster:
            return Done()
        with contextlib.suppress(DriverUnavailable):  # of those that are away nothing is decided
            for manifest in await self._drivers.list_manifests({HOLDER_CLUSTER_UID: cluster}):
                if _may_go(manifest) and not await self._has_owner(manifest):
                    await self._delete(manifest)
        return RequeueAfter(LOOK_AGAIN_SECONDS, "a claim may go while its volume is being made")

    async def _delete(self, manifest: "inventory_pb2.Manifest") -> None:
        with contextlib.suppress(DriverUnavailable):
            await self._drivers.delete_volume(manifest.volume_id)
            log.info("orphan.deleted", handle=manifest.volume_id)

    async def _has_owner(self, manifest: "inventory_pb2.Manifest") -> bool:
        """Whether a claim still waits for the volume, or a PersistentVolume stands for it."""
        holder = manifest.holder.labels
        with contextlib.suppress(NotFound):
            claim = await self._transport.get(CLAIM, holder[HOLDER_CLAIM], holder[HOLDER_NAMESPACE])
            if claim["metadata"]["uid"] == holder[HOLDER_CLAIM_UID]:
                return True
        # Objects are looked for after the claim: the other way round, one made in between would be missed.
        listing = await self._transport.list(VOLUME)
        handles = {(each["spec"].get("csi") or {}).get("volumeHandle") for each in listing.items}
        return manifest.volume_id in handles


def _may_go(manifest: "inventory_pb2.Manifest") -> bool:
    """Whether nobody's bytes are in it, or nobody is to have them any longer (I3)."""
    return manifest.state == "creating" or manifest.holder.labels.get(HOLDER_RECLAIM_POLICY) == "Delete"
