"""
Reconcile volumes of a claim that was deleted before their PersistentVolume was created.

external-provisioner leaks them when it stops at that moment. The driver's manifest names their claim. Volumes with
policy Delete, and those whose creation was interrupted, are moved to the trash. Others are retained, and a recreated
claim adopts them.
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

RESYNC_SECONDS = 60.0


class Driver(Protocol):
    """The calls to the driver that this reconciler needs."""

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """Return the volumes whose owner record has these labels."""

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash."""


class Orphans:
    """The reconciler of the volumes of this cluster on all nodes."""

    name = "orphans"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, *, drivers: Driver) -> None:
        self._transport = transport
        self._caches = caches
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the trigger: the cluster's UID; afterwards it runs periodically."""
        return {
            NAMESPACE: lambda each: [("", CLUSTER_NAMESPACE)] if each["metadata"]["name"] == CLUSTER_NAMESPACE else ()
        }

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Delete volumes without a PersistentVolume and a claim, both read from the API server."""
        cluster = cluster_uid(self._caches)
        if key[1] != CLUSTER_NAMESPACE or not cluster:
            return Done()
        with contextlib.suppress(DriverUnavailable):  # nothing is decided about volumes of unavailable drivers
            for manifest in await self._drivers.list_manifests({HOLDER_CLUSTER_UID: cluster}):
                if _is_deletable(manifest) and not await self._has_owner(manifest):
                    await self._delete(manifest)
        return RequeueAfter(RESYNC_SECONDS, "a claim may be deleted while its volume is being created")

    async def _delete(self, manifest: "inventory_pb2.Manifest") -> None:
        with contextlib.suppress(DriverUnavailable):
            await self._drivers.delete_volume(manifest.volume_id)
            log.info("orphan.deleted", handle=manifest.volume_id)

    async def _has_owner(self, manifest: "inventory_pb2.Manifest") -> bool:
        """Report whether a claim still waits for the volume, or it has a PersistentVolume."""
        holder = manifest.holder.labels
        with contextlib.suppress(NotFound):
            claim = await self._transport.get(CLAIM, holder[HOLDER_CLAIM], holder[HOLDER_NAMESPACE])
            if claim["metadata"]["uid"] == holder[HOLDER_CLAIM_UID]:
                return True
        # The PersistentVolume is read after the claim, so that one created in between is not missed.
        listing = await self._transport.list(VOLUME)
        handles = {(each["spec"].get("csi") or {}).get("volumeHandle") for each in listing.items}
        return manifest.volume_id in handles


def _is_deletable(manifest: "inventory_pb2.Manifest") -> bool:
    """Report whether the volume may be deleted: it was never bound, or its policy is Delete (I3)."""
    return manifest.state == "creating" or manifest.holder.labels.get(HOLDER_RECLAIM_POLICY) == "Delete"
