"""
The volume part of the engine's binder: it runs the persistentvolume controller's state machine of volumes.

Released volumes are deleted by the provisioner, `provisioner.controllers.reclaim`.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.binding.matching.pv_controller import ClaimRefChange, VolumeStep, volume_step
from provisioner.embedded.controlplane.bind_writes import set_phase
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, VOLUME, Json, Kind
from provisioner.model.names import (
    BOUND_BY_CONTROLLER,
)
from provisioner.model.volume import Volume
from provisioner.observe.triggers import claim_key

log = structlog.get_logger()


class VolumeBinder:
    """The reconciler of the state machine of volumes."""

    name = "volume-binder"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder) -> None:
        self._transport = transport
        self._caches = caches
        self._announcer = EventDeduplicator(recorder)

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the volume itself, the claim of its claimRef, and claims with its name in volumeName."""
        return {VOLUME: lambda volume: [("", volume["metadata"]["name"])], CLAIM: self._of_claim}

    def _of_claim(self, claim: Json) -> Iterable[Key]:
        if named := claim["spec"].get("volumeName"):
            yield "", named
        for volume in self._caches[VOLUME].all():
            ref = volume["spec"].get("claimRef") or {}
            if (ref.get("namespace"), ref.get("name")) == claim_key(claim):
                yield "", volume["metadata"]["name"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one volume: one step of the state machine."""
        found = self._caches[VOLUME].get(key[1])
        if found is None:
            return Done()
        try:
            volume = Volume.of(found)
            claim = await self._claim_of(volume)
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        step = volume_step(volume, claim=claim)
        if step.event is not None:
            event = step.event
            await self._announcer.report(
                found, warning=event.type == "Warning", reason=event.reason, message=event.message
            )
        await self._write(found, volume, step)
        return Done()

    async def _claim_of(self, volume: Volume) -> Claim | None:
        """
        Return the claim of the claimRef, or None when it does not exist.

        It is read from the API server where the cache lacks it, since a missing claim releases the volume (V3).
        """
        ref = volume.claim_ref
        if ref is None or not ref.uid:
            return None
        cached = self._caches[CLAIM].get(ref.name, ref.namespace)
        if cached is not None and cached["metadata"]["uid"] == ref.uid:
            return Claim.of(cached)
        try:
            return Claim.of(await self._transport.get(CLAIM, ref.name, ref.namespace))
        except NotFound:
            return None

    async def _write(self, found: Json, volume: Volume, step: VolumeStep) -> None:
        metadata = found["metadata"]
        if step.claim_ref is not ClaimRefChange.KEEP:
            keeps_name = step.claim_ref is ClaimRefChange.KEEP_NAME
            reference = {"uid": None, "resourceVersion": None} if keeps_name else None
            patch: Json = {
                "metadata": {
                    "resourceVersion": metadata["resourceVersion"],
                    "annotations": {BOUND_BY_CONTROLLER: None},
                },
                "spec": {"claimRef": reference},
            }
            found = await self._transport.patch(VOLUME, metadata["name"], patch)
            log.info("volume.unbound", volume=volume.name, rule=step.rule)
        if step.phase:
            await set_phase(self._transport, found, step.phase)
