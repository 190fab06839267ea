"""
Reconcile released volumes: delete those with policy Delete, in the driver and in the API server; retain the others.

The order is external-provisioner's: DeleteVolume, delete the PersistentVolume, remove the finalizer.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.actions.persistent_volume import managed_by_us
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, VOLUME, Json, Kind, Object
from provisioner.model.names import LOST_SINCE, PROVISIONER_FINALIZER, RELEASED

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5


class Deletes(Protocol):
    """The calls to the driver that this reconciler needs."""

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash."""


class Reclaim:
    """The reconciler that deletes released volumes of Mooring's driver."""

    name = "reclaim"
    workers = 4

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Deletes) -> None:
        self._transport = transport
        self._caches = caches
        self._recorder = recorder
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the trigger: the volume itself."""
        return {VOLUME: lambda volume: [("", volume["metadata"]["name"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one volume: delete it when it is due; until then set its finalizer according to its policy."""
        volume = self._caches[VOLUME].get(key[1])
        if volume is None or not managed_by_us(volume):
            return Done()
        if not due(volume):
            await self._sync_finalizer(volume)
            return Done()
        fresh = await self._still_due(volume)
        return await self._delete(fresh) if fresh is not None else Done()

    async def _delete(self, volume: Json) -> Done | RequeueAfter:
        name, uid = volume["metadata"]["name"], volume["metadata"]["uid"]
        handle = volume["spec"]["csi"]["volumeHandle"]
        try:
            await self._drivers.delete_volume(handle)
        except DriverUnavailable as error:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        except RpcError as error:
            message = f"{error.message}; it is retried"
            await self._recorder.record(volume, type="Warning", reason="VolumeFailedDelete", message=message)
            raise
        with contextlib.suppress(NotFound):
            await self._transport.delete(VOLUME, name, uid=uid)
        with contextlib.suppress(NotFound):
            await self._drop_finalizer(await self._transport.get(VOLUME, name), uid=uid)
        log.info("volume.deleted", volume=name, handle=handle)
        return Done()

    async def _still_due(self, cached: Json) -> Json | None:
        """
        Read the volume and then its claim from the API server: a stale cache must not lead to lost data (I3).

        An admin may have changed the policy to Retain; that is respected until the driver is called.
        """
        try:
            volume = await self._transport.get(VOLUME, cached["metadata"]["name"])
        except NotFound:
            return None
        same = volume["metadata"]["uid"] == cached["metadata"]["uid"]
        return volume if same and due(volume) and await self._is_unclaimed(volume) else None

    async def _is_unclaimed(self, volume: Json) -> bool:
        """Report whether its claim was deleted, or was bound to another volume, which never changes again."""
        ref = volume["spec"].get("claimRef") or {}
        if not ref.get("uid"):
            return False
        try:
            claim = await self._transport.get(CLAIM, ref["name"], ref["namespace"])
        except NotFound:
            return True
        return claim["metadata"]["uid"] != ref["uid"] or _is_bound_elsewhere(claim, volume)

    async def _sync_finalizer(self, volume: Json) -> None:
        """Set the finalizer on volumes with policy Delete only; others may be deleted without Mooring."""
        has = PROVISIONER_FINALIZER in (volume["metadata"].get("finalizers") or [])
        needs = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if has and not needs:
            await self._drop_finalizer(volume, uid=volume["metadata"]["uid"])
        elif needs and not has and "deletionTimestamp" not in volume["metadata"] and _phase(volume) == "Bound":
            finalizers = [*(volume["metadata"].get("finalizers") or []), PROVISIONER_FINALIZER]
            await self._write_finalizers(volume, finalizers)

    async def _drop_finalizer(self, volume: Json, *, uid: str) -> None:
        metadata = volume["metadata"]
        finalizers = metadata.get("finalizers") or []
        if metadata["uid"] == uid and PROVISIONER_FINALIZER in finalizers:
            await self._write_finalizers(volume, [each for each in finalizers if each != PROVISIONER_FINALIZER])

    async def _write_finalizers(self, volume: Json, finalizers: list[str]) -> None:
        metadata = volume["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
        with contextlib.suppress(NotFound):
            await self._transport.patch(VOLUME, metadata["name"], patch)


def due(volume: Object) -> bool:
    """
    Report whether the API objects require the volume to be deleted.

    A volume that was released, by an admin or because its node was lost, is retained until its PersistentVolume is
    deleted.
    """
    metadata = volume["metadata"]
    protected = {RELEASED, LOST_SINCE} & (metadata.get("annotations") or {}).keys()
    if protected and "deletionTimestamp" not in metadata:
        return False
    if _phase(volume) != "Released" or volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
        return False
    # A volume that is being deleted and has no finalizer was deleted in the driver already.
    return "deletionTimestamp" not in metadata or PROVISIONER_FINALIZER in (metadata.get("finalizers") or [])


def _is_bound_elsewhere(claim: Object, volume: Object) -> bool:
    return claim["spec"].get("volumeName", "") not in {"", volume["metadata"]["name"]}


def _phase(volume: Object) -> str:
    return str(volume.get("status", {}).get("phase", ""))
