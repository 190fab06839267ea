"""
Reconcile volumes whose node is lost, of classes with `onNodeLoss: Release`: delete their claims, retain their data.

The state is stored in annotations of the PersistentVolume, and so survives a change of the leader. Before a claim is
deleted, the facts are read from the API server. The old volume is released last: until then the claim that the
StatefulSet recreated waits for it, so that nothing is decided twice.
"""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.actions.delete_claim import delete_claim, delete_waiting_pods
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.binding.lifecycle import node_loss_messages
from provisioner.binding.lifecycle.node_loss import Loss, Outcome, Step, last_node, next_step
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.errors import Forbidden, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, VOLUME, Json, Kind
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from provisioner.model.volume import Volume
from provisioner.observe.node_loss_facts import Drivers, blocked_by, from_api_server, from_caches
from provisioner.observe.node_loss_triggers import NodeLossTriggers

log = structlog.get_logger()

CONFIRM_SECONDS = 1.0
SLOWLY_SECONDS = 60.0
"""The interval between retries of what stays refused until an admin acts."""

FINAL = frozenset({Step.DELETE_CLAIM, Step.LEAVE, Step.DELETE_POD, Step.RELEASE, Step.NOTE_RETURN})
"""The steps that are not taken on cached facts alone: without the record of its loss a volume may be deleted."""


class NodeLoss:
    """The reconciler of volumes whose node may be lost."""

    name = "node-loss"
    workers = 2

    def __init__(
        self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Drivers, grace: float
    ) -> None:
        """Set `grace` to the seconds after which a missing node is lost."""
        self._transport = transport
        self._caches = caches
        self._events = EventDeduplicator(recorder)
        self._drivers = drivers
        self._grace = grace
        self._triggers = NodeLossTriggers(caches[VOLUME])

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers; see NodeLossTriggers."""
        return self._triggers.watches()

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one volume; before a claim is deleted, decide again on facts from the API server."""
        found = self._caches[VOLUME].get(key[1])
        if found is None:
            return Done()
        try:
            seen = from_caches(found, self._caches, self._drivers)
            decided = next_step(seen, grace=self._grace)
            if decided.step in FINAL:
                found, seen = await from_api_server(self._transport, key[1], self._drivers)
                if next_step(seen, grace=self._grace) != decided:
                    return RequeueAfter(CONFIRM_SECONDS, "the caches are older than the API server")
                seen = dataclasses.replace(seen, blocked_by=blocked_by(seen.claim, self._caches))
                decided = next_step(seen, grace=self._grace)
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        return await self._act(found, seen, decided)

    async def _act(self, found: Json, seen: Loss, decided: Outcome) -> Done | RequeueAfter:
        match decided.step:
            case Step.NOTE_NODE:
                await self._annotate(found, {LAST_NODE: decided.node})
            case Step.NOTE_RETURN:
                await self._annotate(found, {LOST_SINCE: None})
            case Step.NOTE_LOSS:
                await self._annotate(found, {LOST_SINCE: _now()})
                await self._record(seen, "NodeLost", node_loss_messages.lost(seen, grace=self._grace))
            case Step.WAIT:
                return RequeueAfter(decided.seconds, "the node may return")
            case Step.DELETE_CLAIM:
                return await self._delete_claim(seen)
            case Step.LEAVE:
                await self._record(seen, "ClaimRetained", node_loss_messages.left(seen))
                return RequeueAfter(SLOWLY_SECONDS, "its owner may delete it")
            case Step.DELETE_POD:
                await self._prompt(seen.volume)
                return RequeueAfter(SLOWLY_SECONDS, "its StatefulSet recreates the claim")
            case Step.RELEASE:
                await self._release(found, seen.volume)
        return Done()

    async def _delete_claim(self, seen: Loss) -> Done | RequeueAfter:
        assert seen.claim is not None  # noqa: S101 - a claim is deleted only when there is one
        try:
            await delete_claim(self._transport, seen.claim)
        except Forbidden as error:
            await self._record(seen, "ClaimRetained", node_loss_messages.forbidden(seen))
            return RequeueAfter(SLOWLY_SECONDS, error.message)
        await self._record(seen, "ClaimReleased", node_loss_messages.claim_deleted(seen))
        return Done()  # the claim triggers this key when it is deleted

    async def _prompt(self, volume: Volume) -> None:
        ref = volume.claim_ref
        assert ref is not None  # noqa: S101 - only a volume with a claimRef is released
        for pod in await delete_waiting_pods(self._transport, namespace=ref.namespace, claim=ref.name):
            message = node_loss_messages.waits_for_claim(ref.namespace, pod=pod["metadata"]["name"], claim=ref.name)
            await self._events.report(pod, warning=True, reason="ClaimReleased", message=message)

    async def _release(self, found: Json, volume: Volume) -> None:
        await self._annotate(found, {RELEASED: _now(), LOST_SINCE: None})
        message = node_loss_messages.released(volume)
        await self._events.report(found, warning=False, reason="VolumeReleased", message=message)
        log.info("volume.released", volume=volume.name, claim=str(volume.claim_ref), node=last_node(volume))

    async def _record(self, seen: Loss, reason: str, message: str) -> None:
        """Record an Event on the claim."""
        if seen.claim is None:
            return
        claim = self._caches[CLAIM].get(seen.claim.name, seen.claim.namespace)
        if claim is not None and claim["metadata"]["uid"] == seen.claim.uid:
            await self._events.report(claim, warning=True, reason=reason, message=message)

    async def _annotate(self, volume: Json, annotations: Mapping[str, str | None]) -> None:
        """Write annotations to the volume. Raises Conflict when it has changed since the decision."""
        metadata = volume["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": annotations}}
        with contextlib.suppress(NotFound):
            await self._transport.patch(VOLUME, metadata["name"], patch)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
