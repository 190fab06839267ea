"""
Reconcile bound claims that request more than their capacity: expand their volumes, and update their status.

The filesystem is expanded on the node, by kubelet in a cluster and by the engine's kubelet.
Source of the flow: external-resizer, pkg/controller.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.actions import resize_status
from provisioner.actions.backoff import Backoff
from provisioner.actions.claim_status import write_status
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.expand_volume import ExpandResult, Expands, expand, write_expanded
from provisioner.actions.failed_change import DRIVER_UNAVAILABLE_SECONDS, report_failure
from provisioner.binding.lifecycle.expand import NODE_INFEASIBLE, Expansion, Turn, expansion, has
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import PRE_RESIZE_CAPACITY
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from provisioner.observe.triggers import claim_key, claim_of_volume

log = structlog.get_logger()


class Expand:
    """The reconciler of the size of a bound claim's volume."""

    name = "expand"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Expands) -> None:
        self._transport = transport
        self._caches = caches
        self._events = EventDeduplicator(recorder)
        self._drivers = drivers
        self._backoff = Backoff()
        self._refused: set[str] = set()
        """UIDs of claims whose last attempt had a final answer; lost at a restart, as in upstream."""

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the claim itself, its volume, and the class that it may wait for."""
        return {CLAIM: lambda claim: [claim_key(claim)], VOLUME: claim_of_volume, STORAGE_CLASS: self._of_class}

    def _of_class(self, storage_class: Json) -> Iterable[Key]:
        name = storage_class["metadata"]["name"]
        return [claim_key(each) for each in self._caches[CLAIM].all() if each["spec"].get("storageClassName") == name]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one claim: expand its volume when it is the controller's turn."""
        found = self._caches[CLAIM].get(key[1], key[0])
        pv = self._caches[VOLUME].get(found["spec"].get("volumeName") or "") if found else None
        if found is None or pv is None:
            return Done()
        try:
            claim, volume = Claim.of(found), Volume.of(pv)
            named = self._caches[STORAGE_CLASS].get(claim.class_name)
            storage_class = StorageClass.of(named) if named else None
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        decision = expansion(claim, volume, storage_class=storage_class, refused=claim.uid in self._refused)
        match decision.turn:
            case Turn.CONTROLLER:
                return await self._expand(found, pv, claim, decision)
            case Turn.USER:
                message = "; ".join(each.message for each in decision.reasons)
                await self._events.report(found, warning=True, reason="VolumeResizeFailed", message=message)
            case Turn.NONE:
                self._backoff.forget(claim.uid)
                self._refused.discard(claim.uid)
                await self._unmark(pv, claim, volume)
        return Done()

    async def _expand(self, found: Json, pv: Json, claim: Claim, decision: Expansion) -> Done | RequeueAfter:
        size, name = decision.size, pv["metadata"]["name"]
        if pause := self._pause(claim, size):
            return RequeueAfter(pause, "the same request was refused a moment ago")
        if claim.allocated != size or not claim.resize_status:
            found = await write_status(self._transport, found, resize_status.in_progress(found, size=size))
        if not self._backoff.has_failed(claim.uid, size):
            message = f"volume {name} is expanded from {claim.capacity.readable()} to {size.readable(up=True)}"
            await self._events.report(found, warning=False, reason="Resizing", message=message)
        try:
            expanded = await expand(self._drivers, pv, size=size, before=str(claim.capacity))
        except DriverUnavailable as error:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        except RpcError as error:
            return await self._failed(found, claim, size, error)
        self._backoff.forget(claim.uid)
        self._refused.discard(claim.uid)
        await write_expanded(self._transport, pv, expanded)
        await self._report_expanded(found, name, expanded)
        return Done()

    def _pause(self, claim: Claim, size: Quantity) -> float:
        """Return the seconds until the driver is called; after the refusal of a node it is called again later."""
        if claim.resize_status == NODE_INFEASIBLE and not self._backoff.has_failed(claim.uid, size):
            return self._backoff.failed(claim.uid, size, slowly=True)
        return self._backoff.left(claim.uid, size)

    async def _failed(self, found: Json, claim: Claim, size: Quantity, error: RpcError) -> RequeueAfter:
        """Report the error, and retry: soon if it is temporary, slowly if it is final."""
        if error.final:
            self._refused.add(claim.uid)
        else:
            self._refused.discard(claim.uid)
        pause = self._backoff.failed(claim.uid, size, slowly=error.infeasible)
        message = f"volume {claim.volume_name} cannot be expanded to {size.readable(up=True)}: {error.message}"
        await report_failure(
            self._events, found, error, reason="VolumeResizeFailed", message=message, log_event="volume.expand_failed"
        )
        status = resize_status.failed(found, message=error.message, infeasible=error.infeasible)
        await write_status(self._transport, found, status)
        return RequeueAfter(pause, error.message)

    async def _report_expanded(self, found: Json, name: str, expanded: ExpandResult) -> None:
        if expanded.node_expansion_required:
            await write_status(self._transport, found, resize_status.waits_for_node(found))
            message = f"volume {name} is expanded to {expanded.capacity}; the node expands its filesystem"
            await self._events.report(found, warning=False, reason="FileSystemResizeRequired", message=message)
        else:
            await write_status(self._transport, found, resize_status.finished(found, size=expanded.capacity))
            message = f"volume {name} is expanded to {expanded.capacity}"
            await self._events.report(found, warning=False, reason="VolumeResizeSuccessful", message=message)

    async def _unmark(self, pv: Json, claim: Claim, volume: Volume) -> None:
        """Remove the annotation with the former size once the claim reports the volume's capacity."""
        ref = volume.claim_ref
        bound = claim.phase == "Bound" and ref is not None and ref.uid == claim.uid and claim.volume_name == volume.name
        if bound and PRE_RESIZE_CAPACITY in volume.annotations and has(claim, volume) >= volume.capacity:
            version = pv["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version, "annotations": {PRE_RESIZE_CAPACITY: None}}}
            await self._transport.patch(VOLUME, volume.name, patch)
