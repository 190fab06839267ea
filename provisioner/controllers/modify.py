"""
Reconcile bound claims that request another VolumeAttributesClass: modify their volumes, and update their status.

Source of the flow: external-resizer, pkg/modifycontroller.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.actions import modify_status
from provisioner.actions.backoff import Backoff
from provisioner.actions.claim_status import write_status
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.failed_change import DRIVER_UNAVAILABLE_SECONDS, report_failure
from provisioner.binding.lifecycle.modify import IN_PROGRESS, INFEASIBLE, Step, modification
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import ATTRIBUTES_CLASS, CLAIM, VOLUME, Json, Kind
from provisioner.model.volume import Volume
from provisioner.observe.triggers import claim_key, claim_of_volume

log = structlog.get_logger()


class Modifies(Protocol):
    """The calls to the driver that this reconciler needs."""

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """Set the volume's mutable parameters."""


class Modify:
    """The reconciler of the VolumeAttributesClass of a bound claim's volume."""

    name = "modify"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Modifies) -> None:
        self._transport = transport
        self._caches = caches
        self._events = EventDeduplicator(recorder)
        self._drivers = drivers
        self._backoff = Backoff()

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the claim itself, its volume, and the class that it names."""
        return {CLAIM: lambda claim: [claim_key(claim)], VOLUME: claim_of_volume, ATTRIBUTES_CLASS: self._of_class}

    def _of_class(self, found: Json) -> Iterable[Key]:
        name = found["metadata"]["name"]
        claims = self._caches[CLAIM].all()
        return [claim_key(each) for each in claims if each["spec"].get("volumeAttributesClassName") == name]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one claim: modify its volume when that is needed."""
        found = self._caches[CLAIM].get(key[1], key[0])
        pv = self._caches[VOLUME].get(found["spec"].get("volumeName") or "") if found else None
        if found is None or pv is None:
            return Done()
        try:
            claim = Claim.of(found)
            named = self._caches[ATTRIBUTES_CLASS].get(claim.attributes_class)
            attributes_class = AttributesClass.of(named) if named else None
            decision = modification(claim, Volume.of(pv), attributes_class=attributes_class)
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        match decision.step:
            case Step.MODIFY if attributes_class is not None:
                return await self._modify(found, pv, claim, attributes_class)
            case Step.WAIT | Step.REFUSE:
                target, message = claim.attributes_class, "; ".join(each.message for each in decision.reasons)
                status = modify_status.pending(found, target=target)
                if decision.step is Step.REFUSE:
                    status = modify_status.failed(found, target=target, message=message, infeasible=True)
                await write_status(self._transport, found, status)
                await self._events.report(found, warning=True, reason="VolumeModifyFailed", message=message)
            case Step.FORGET:
                status = modify_status.finished(found, current=claim.current_attributes_class)
                await write_status(self._transport, found, status)
        self._backoff.forget(claim.uid)
        return Done()

    async def _modify(self, found: Json, pv: Json, claim: Claim, requested: AttributesClass) -> Done | RequeueAfter:
        if pause := self._backoff.left(claim.uid, requested.name):
            return RequeueAfter(pause, "the same request was refused a moment ago")
        volume = pv["metadata"]["name"]
        if claim.modify_target != requested.name or claim.modify_status not in {IN_PROGRESS, INFEASIBLE}:
            status = modify_status.in_progress(found, target=requested.name)
            found = await write_status(self._transport, found, status)
        if not self._backoff.has_failed(claim.uid, requested.name):
            message = f"volume {volume} is modified to VolumeAttributesClass {requested.name}"
            await self._events.report(found, warning=False, reason="VolumeModify", message=message)
        try:
            await self._drivers.modify_volume(pv["spec"]["csi"]["volumeHandle"], requested.parameters)
        except DriverUnavailable as error:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        except RpcError as error:
            return await self._failed(found, claim, requested, error)
        self._backoff.forget(claim.uid)
        await self._write_volume(pv, requested.name)
        await write_status(self._transport, found, modify_status.finished(found, current=requested.name))
        message = f"volume {volume} has the attributes of class {requested.name}"
        await self._events.report(found, warning=False, reason="VolumeModifySuccessful", message=message)
        log.info("volume.modified", volume=volume, attributes_class=requested.name)
        return Done()

    async def _failed(self, found: Json, claim: Claim, requested: AttributesClass, error: RpcError) -> RequeueAfter:
        """Report the error, and retry: soon if it is temporary, slowly if it is final."""
        pause = self._backoff.failed(claim.uid, requested.name, slowly=error.infeasible)
        message = (
            f"volume {claim.volume_name} cannot be modified to VolumeAttributesClass {requested.name}: {error.message}"
        )
        await report_failure(
            self._events, found, error, reason="VolumeModifyFailed", message=message, log_event="volume.modify_failed"
        )
        status = modify_status.failed(found, target=requested.name, message=error.message, infeasible=error.infeasible)
        await write_status(self._transport, found, status)
        return RequeueAfter(pause, error.message)

    async def _write_volume(self, pv: Json, name: str) -> None:
        """Write the PersistentVolume; it is written before the claim, whose status must not be ahead of it."""
        if pv["spec"].get("volumeAttributesClassName") != name:
            metadata = pv["metadata"]
            patch = {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "spec": {"volumeAttributesClassName": name},
            }
            await self._transport.patch(VOLUME, metadata["name"], patch)
