"""
Bound claims that ask for more than they have: their volumes grow, and their status tells how far that is.

The node's part, the filesystem, is kubelet's in a cluster and the agent's in the embedded engine.
Source of the flow: external-resizer, pkg/controller.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.actions import resize_status
from provisioner.actions.backoff import Backoff
from provisioner.actions.claim_status import write_status
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.expand_volume import Expands, Grown, grow, write_grown
from provisioner.binding.lifecycle.expand import NODE_INFEASIBLE, Expansion, Turn, expansion, has
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import PRE_RESIZE_CAPACITY
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from provisioner.observe.triggers import claim_key, claim_of_volume

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5


class Expand:
    """One reconciler: the size of a bound claim's volume."""

    name = "expand"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Expands) -> None:
        self._transport = transport
        self._caches = caches
        self._announcer = EventDeduplicator(recorder)
        self._drivers = drivers
        self._retries = Backoff()
        self._refused: set[str] = set()
        """UIDs of claims whose last try ended with a final answer; unknown after a restart, as upstream."""

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """A claim wakes itself, a volume its claim, a class the claims that may wait for it."""
        return {CLAIM: lambda claim: [claim_key(claim)], VOLUME: claim_of_volume, STORAGE_CLASS: self._of_class}

    def _of_class(self, storage_class: Json) -> Iterable[Key]:
        name = storage_class["metadata"]["name"]
        return [claim_key(each) for each in self._caches[CLAIM].all() if each["spec"].get("storageClassName") == name]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Decide whose turn it is; act when it is ours."""
        found = self._caches[CLAIM].get(key[1], key[0])
        held = self._caches[VOLUME].get(found["spec"].get("volumeName") or "") if found else None
        if found is None or held is None:
            return Done()
        try:
            claim, volume = Claim.of(found), Volume.of(held)
            named = self._caches[STORAGE_CLASS].get(claim.class_name)
            storage_class = StorageClass.of(named) if named else None
        except InvalidObject as error:
            raise TerminalError(str(error)) from error
        decision = expansion(claim, volume, storage_class=storage_class, refused=claim.uid in self._refused)
        match decision.turn:
            case Turn.CONTROLLER:
                return await self._expand(found, held, claim, decision)
            case Turn.USER:
                message = "; ".join(each.message for each in decision.reasons)
                await self._announcer.say(found, warning=True, reason="VolumeResizeFailed", message=message)
            case Turn.NONE:
                self._retries.forget(claim.uid)
                self._refused.discard(claim.uid)
                await self._unmark(held, claim, volume)
        return Done()

    async def _expand(self, found: Json, held: Json, claim: Claim, decision: Expansion) -> Done | RequeueAfter:
        size, name = decision.size, held["metadata"]["name"]
        if pause := self._pause(claim, size):
            return RequeueAfter(pause, "it was refused a moment ago")
        if claim.allocated != size or not claim.resize_status:
            found = await write_status(self._transport, found, resize_status.in_progress(found, size=size))
        if not self._retries.knows(claim.uid, size):
            message = f"volume {name} grows from {claim.capacity.readable()} to {size.readable(up=True)}"
            await self._announcer.say(found, warning=False, reason="Resizing", message=message)
        try:
            grown = await grow(self._drivers, held, size=size, before=str(claim.capacity))
        except DriverUnavailable as error:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        except RpcError as error:
            return await self._failed(found, claim, size, error)
        self._retries.forget(claim.uid)
        self._refused.discard(claim.uid)
        await write_grown(self._transport, held, grown)
        await self._grown(found, name, grown)
        return Done()

    def _pause(self, claim: Claim, size: Quantity) -> float:
        """Seconds to wait before the driver is asked; what a node refused is begun anew only after a while."""
        if claim.resize_status == NODE_INFEASIBLE and not self._retries.knows(claim.uid, size):
            return self._retries.failed(claim.uid, size, slowly=True)
        return self._retries.left(claim.uid, size)

    async def _failed(self, found: Json, claim: Claim, size: Quantity, error: RpcError) -> RequeueAfter:
        """Tell it, and try again: soon what may pass, slowly what will be refused again."""
        if error.final:
            self._refused.add(claim.uid)
        else:
            self._refused.discard(claim.uid)
        pause = self._retries.failed(claim.uid, size, slowly=error.infeasible)
        message = f"volume {claim.volume_name} cannot grow to {size.readable(up=True)}: {error.message}"
        is_new = await self._announcer.say(found, warning=True, reason="VolumeResizeFailed", message=message)
        level = logging.WARNING if is_new else logging.DEBUG
        log.log(level, "volume.not-expanded", volume=claim.volume_name, code=error.code.name, error=error.message)
        status = resize_status.failed(found, message=error.message, infeasible=error.infeasible)
        await write_status(self._transport, found, status)
        return RequeueAfter(pause, error.message)

    async def _grown(self, found: Json, name: str, grown: Grown) -> None:
        if grown.node_too:
            await write_status(self._transport, found, resize_status.waits_for_node(found))
            message = f"volume {name} has grown to {grown.capacity}; its filesystem grows on the node"
            await self._announcer.say(found, warning=False, reason="FileSystemResizeRequired", message=message)
        else:
            await write_status(self._transport, found, resize_status.finished(found, size=grown.capacity))
            message = f"volume {name} has {grown.capacity}"
            await self._announcer.say(found, warning=False, reason="VolumeResizeSuccessful", message=message)

    async def _unmark(self, held: Json, claim: Claim, volume: Volume) -> None:
        """Once the claim has all that its volume has, the note of what it had before is of no use."""
        ref = volume.claim_ref
        bound = claim.phase == "Bound" and ref is not None and ref.uid == claim.uid and claim.volume_name == volume.name
        if bound and PRE_RESIZE_CAPACITY in volume.annotations and has(claim, volume) >= volume.capacity:
            version = held["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version, "annotations": {PRE_RESIZE_CAPACITY: None}}}
            await self._transport.patch(VOLUME, volume.name, patch)
