"""
Reconcile PersistentVolumes provisioned for a claim that was then bound to another volume.

Left Available, the next claim of that name would be bound to them. The first write is one guarded patch that sets the
UID of the volume's claimRef to one that no claim has, so that no claim is bound to it. A volume that was provably never
bound gets a UID that records this; it is moved to the driver's trash, then its PersistentVolume is deleted.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.actions.ownership_labels import labels_of
from provisioner.actions.persistent_volume import rewritten, volume_name
from provisioner.binding.lifecycle.bind_race import Outcome, RaceLoser, is_collected, lost_race, meant_for
from provisioner.drivers.client import DriverUnavailable, RpcError, VolumeNotFoundError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model import history
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, NAMESPACE, VOLUME, Json, Kind, Object
from provisioner.model.names import HISTORY, RELEASED
from provisioner.model.volume import Volume
from provisioner.observe.cluster_uid import cluster_uid
from provisioner.observe.triggers import no_keys
from provisioner.observe.volume_index import volumes_in

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5

EVENTS = {
    Outcome.COLLECT: ("Normal", "BindRaceCollected"),
    Outcome.RETAIN: ("Warning", "BindRaceLost"),
    Outcome.FORMER: ("Normal", "AdoptionLost"),
}


class Driver(Protocol):
    """The calls to the driver that this reconciler needs."""

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """Record the owner in the manifest."""

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash."""


class BindRace:
    """The reconciler of volumes whose claim was bound to another one."""

    name = "bind-race"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Driver) -> None:
        self._transport = transport
        self._caches = caches
        self._recorder = recorder
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the volume itself, and a claim that is bound to another volume."""
        return {
            VOLUME: lambda volume: [("", volume["metadata"]["name"])],
            CLAIM: _provisioned_for,
            NAMESPACE: no_keys,
        }

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one volume, read from the API server: mark one that lost a bind race, and delete a marked one."""
        cached = self._caches[VOLUME].get(key[1])
        try:
            if cached is None or not _is_suspect(Volume.of(cached)):
                return Done()
            fresh = await self._transport.get(VOLUME, key[1])
            volume = Volume.of(fresh)
            if is_collected(volume):
                return await self._collect(fresh)
            meant = meant_for(volume)
            claim = await self._claim(meant) if meant else None
        except NotFound:
            return Done()
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        found = lost_race(volume, claim=claim, others=volumes_in(self._caches))
        if found is not None:
            await self._mark(fresh, found)
        return Done()  # the changed volume triggers this key again

    async def _claim(self, meant: Owner) -> Claim | None:
        """Return the claim from the API server: a cached one may have been deleted and recreated."""
        with contextlib.suppress(NotFound):
            return Claim.of(await self._transport.get(CLAIM, meant.claim, meant.namespace))
        return None

    async def _mark(self, volume: Object, found: RaceLoser) -> None:
        """Mark the volume. Raises Conflict when it has changed since the decision, such as bound to a claim."""
        await self._transport.patch(VOLUME, volume["metadata"]["name"], mark(volume, found))
        kind, reason = EVENTS[found.outcome]
        log.info(
            "volume.lost_bind_race",
            volume=volume["metadata"]["name"],
            outcome=found.outcome.value,
            reason=found.reason.message,
        )
        await self._recorder.record(dict(volume), type=kind, reason=reason, message=found.reason.message)

    async def _collect(self, volume: Object) -> Done | RequeueAfter:
        """Delete the volume. The manifest records first that it is no former volume, so that no claim restores it."""
        metadata, handle = volume["metadata"], volume["spec"]["csi"]["volumeHandle"]
        try:
            with contextlib.suppress(VolumeNotFoundError):
                await self._drivers.record_holder(handle, labels_of(volume, cluster_uid=cluster_uid(self._caches)))
            await self._drivers.delete_volume(handle)
        except DriverUnavailable as error:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        except RpcError as error:
            message = f"{error.message}; it is retried"
            await self._recorder.record(dict(volume), type="Warning", reason="VolumeFailedDelete", message=message)
            raise
        with contextlib.suppress(NotFound):
            await self._transport.delete(
                VOLUME, metadata["name"], uid=metadata["uid"], resource_version=metadata["resourceVersion"]
            )
        log.info("volume.collected", volume=metadata["name"], handle=handle)
        return Done()


def mark(volume: Object, found: RaceLoser) -> list[Json]:
    """Return the JSON patch, which applies only to the volume as it was read."""
    metadata = volume["metadata"]
    annotations = dict(metadata["annotations"])
    if found.outcome is Outcome.FORMER:
        annotations[HISTORY] = history.write(found.owners)
    else:
        annotations[RELEASED] = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    meant = history.read(metadata["annotations"][HISTORY])[-1]
    reference = {
        "apiVersion": "v1",
        "kind": CLAIM.name,
        "namespace": meant.namespace,
        "name": meant.claim,
        "uid": found.uid,
    }
    return rewritten(volume, annotations, reference)


def _is_suspect(volume: Volume) -> bool:
    """Report whether the API server has to be queried; for most volumes it has not."""
    return is_collected(volume) or meant_for(volume) is not None


def _provisioned_for(claim: Json) -> Iterable[Key]:
    provisioned, bound = volume_name(claim["metadata"]["uid"]), claim["spec"].get("volumeName")
    if bound and bound != provisioned:
        yield "", provisioned
