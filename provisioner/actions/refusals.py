"""
Record, report and retry the refusal of a claim's volume.

The record is an annotation of the claim (`binding.refused`). The Event, `mooring explain` and `mooring wait` repeat it,
and it outlives the Event. A claim with WaitForFirstConsumer is written in a cluster only by the patch that removes its
selected node: any other write could conflict with the scheduler's.
"""

import datetime as dt

import grpc
import structlog

from provisioner.actions.backoff import Backoff
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.reschedule import reschedule
from provisioner.binding.decision import Decision
from provisioner.binding.facts import Facts
from provisioner.binding.refused import asked, in_force
from provisioner.drivers.client import DriverUnavailable, FormerVolumeError, RpcError, State
from provisioner.kube.control import Done, RequeueAfter
from provisioner.kube.errors import Forbidden, Invalid, NotFound
from provisioner.kube.events import Recorder, without_amounts
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, Json, Object
from provisioner.model.names import LAST_REFUSAL
from provisioner.model.refusal import Refusal
from provisioner.observe.triggers import claim_key

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5
BACKGROUND_SECONDS = 1.0
FAILED_SECONDS = 5.0
INFEASIBLE_SECONDS = 300.0
"""The longest backoff before a refused request is repeated; another request is sent at once."""
CAPACITY_SECONDS = 30.0
"""The same after RESOURCE_EXHAUSTED: deleting other volumes does not trigger this claim."""
FORMER_SECONDS = 15.0

MAY_PASS = frozenset({"former-sibling-missing", "former-sibling-deleting", "former-sibling-expanding"})
"""Reasons to wait that usually end soon, while a StatefulSet creates the claims of a pod."""

REPORTED = ("class", "attributes-class", "sibling", "source", "selector-set")
"""Prefixes of the codes of reasons that a user can act on; other reasons end without an action."""


_NOT_FOUND = grpc.StatusCode.NOT_FOUND


class FormerRefusedError(RpcError):
    """The driver refused to expand or modify a former volume as its claim requests."""


class Refusals:
    """
    Records, reports and retries refusals.

    With `reschedules`, a scheduler selects nodes for claims with WaitForFirstConsumer: a node that cannot serve a claim
    is removed from it, and nothing else is written to such a claim.
    """

    def __init__(self, transport: Transport, recorder: Recorder, *, reschedules: bool) -> None:
        self._transport = transport
        self._events = EventDeduplicator(recorder)
        self._backoff = Backoff()
        self._reschedules = reschedules

    def pause(self, facts: Facts, decision: Decision) -> float:
        """Return the seconds until the same request may be sent to the driver again; 0 means at once."""
        return self._backoff.left(facts.claim.uid, _request(facts, decision))

    def forget(self, uid: str) -> None:
        """Forget the refusals of the claim of this UID, which was not refused this time."""
        self._backoff.forget(uid)

    async def report(self, claim: Json, *, reason: str, message: str, warning: bool = False) -> bool:
        """Record an Event on the claim, unless it is equal to the last one; report whether it was new."""
        return await self._events.report(claim, warning=warning, reason=reason, message=message)

    async def blocked(self, claim: Json, facts: Facts, decision: Decision) -> None:
        """Report what blocks the claim, without reasons that end soon."""
        if all(reason.code in MAY_PASS for reason in decision.reasons) and _is_young(claim):
            return
        if any(reason.code.startswith("former") for reason in decision.reasons):
            message = f"{decision.message}; no empty volume is provisioned meanwhile{_remedy(claim, decision)}"
            await self.report(claim, warning=True, reason="FormerVolumeBlocked", message=message)
            if not all(facts.volumes.get(reason.volume) for reason in decision.reasons):
                # It is known from the drivers only: no other object in the API server shows why the claim waits.
                await self._record(claim, facts, _refusal(facts, decision.reasons[0].code, message))
        elif any(reason.code.startswith(REPORTED) for reason in decision.reasons):
            await self.report(claim, warning=True, reason="ProvisioningFailed", message=decision.message)

    async def unplaceable(self, claim: Json, *, why: str) -> None:
        """Remove the selected node from the claim where a scheduler selects nodes, so that it selects another."""
        if self._reschedules:
            await reschedule(self._transport, claim, why=why)

    async def failed(self, claim: Json, facts: Facts, decision: Decision, error: RpcError) -> Done | RequeueAfter:
        """Handle an error of the driver as external-provisioner does, by its gRPC code."""
        if isinstance(error, DriverUnavailable):
            return await self._unavailable(claim, facts, error)
        if error.state is State.BACKGROUND:
            return await self.unanswered(claim, facts, error, seconds=BACKGROUND_SECONDS)
        refusal = _refusal(facts, error.code.name, error.message)
        about_former = isinstance(error, FormerVolumeError | FormerRefusedError)
        reason = "FormerVolumeBlocked" if about_former else "ProvisioningFailed"
        is_new = await self.report(claim, warning=True, reason=reason, message=refusal.message)
        name = "/".join(claim_key(claim))
        (log.warning if is_new else log.debug)("claim.failed", claim=name, code=error.code.name, error=error.message)
        if error.state is State.RESCHEDULE and self._is_scheduled(facts):
            await reschedule(self._transport, claim, why=error.message, refusal=refusal)
            return Done()
        pause = self._backoff.failed(
            facts.claim.uid,
            _request(facts, decision),
            slowly=error.infeasible and error.code is not _NOT_FOUND,  # NOT_FOUND is about the observed state
            first=FAILED_SECONDS,
            last=CAPACITY_SECONDS if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED else INFEASIBLE_SECONDS,
        )
        await self._record(claim, facts, refusal)
        return RequeueAfter(pause, error.message)

    async def _unavailable(self, claim: Json, facts: Facts, error: DriverUnavailable) -> Done | RequeueAfter:
        """
        Handle a node whose driver is unavailable.

        A node without a pool never created a volume, so its claim can be rescheduled; for any other node that is
        unknown. The node's labels show whether it has a pool, also to a new leader.
        """
        node = facts.node
        if self._reschedules and node is not None and not node.pools:
            message = f"node {node.name} has no driver with a pool; the scheduler selects another node"
            await self.report(claim, warning=True, reason="ProvisioningFailed", message=message)
            refusal = _refusal(facts, error.code.name, message)
            await reschedule(self._transport, claim, why=message, refusal=refusal)
            return Done()
        return await self.unanswered(claim, facts, error)

    async def unanswered(
        self, claim: Json, facts: Facts, error: RpcError, *, seconds: float = DRIVER_UNAVAILABLE_SECONDS
    ) -> RequeueAfter:
        """Wait for the driver, which alone knows whether a volume was created, or the claim had one before."""
        if self._reschedules or not _is_young(claim):
            message = f"{error.message}. No volume is created on another node until that is known"
            reason = "DriverUnavailable" if isinstance(error, DriverUnavailable) else "ProvisioningFailed"
            await self.report(claim, warning=True, reason=reason, message=message)
            # Where a scheduler selected the node, the volume may have been created there.
            if not _is_young(claim) and not self._is_scheduled(facts):
                await self._record(claim, facts, _refusal(facts, error.code.name, message))
        return RequeueAfter(seconds, error.message)

    async def _record(self, claim: Json, facts: Facts, refusal: Refusal) -> None:
        """
        Write the refusal to the claim, unless it is there already. Raises Conflict when the claim changed meanwhile.

        Where a scheduler may write to the claim, the refusal is written by the patch that removes the selected node,
        once: the scheduler may select another node, and if that refuses the same, the node stays.
        """
        before = in_force(facts)
        if before is not None and _differs_in_amounts(before, refusal, node_chosen=self._is_scheduled(facts)):
            return
        if self._is_scheduled(facts):
            await reschedule(self._transport, claim, why=refusal.message, refusal=refusal)
        elif not (self._reschedules and facts.waits_for_consumer):
            metadata = claim["metadata"]
            guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            patch = {"metadata": {**guard, "annotations": {LAST_REFUSAL: refusal.write()}}}
            try:
                await self._transport.patch(CLAIM, metadata["name"], patch, namespace=metadata["namespace"])
            except (NotFound, Forbidden, Invalid) as error:
                # The claim was deleted, or an admission policy of an earlier version forbids the write.
                log.debug("refusal.not_recorded", claim=facts.claim.key, error=error.message)

    def _is_scheduled(self, facts: Facts) -> bool:
        """Report whether a scheduler selected the claim's node, and can select another."""
        return self._reschedules and bool(facts.claim.selected_node)


def former_refused(claim: Json, decision: Decision, error: RpcError) -> RpcError:
    """Return the error with the reason why the former volume is not adopted; the same error where it is temporary."""
    if not error.final or error.code is _NOT_FOUND:
        return error
    if decision.modifies:
        class_name = claim["spec"].get("volumeAttributesClassName")
        why = (
            f"volume {decision.volume}: it is the claim's former volume, and cannot be modified to "
            f"VolumeAttributesClass {class_name}"
        )
    else:
        why = f"{decision.message}; but that is refused"
    remedy = "request another class" if decision.modifies else "request less, or free capacity in its pool"
    message = f"{why}: {error.message}; {remedy}; no empty volume is provisioned meanwhile"
    return FormerRefusedError(code=error.code, message=message)


def _request(facts: Facts, decision: Decision) -> object:
    """Return everything that a refusal of the driver depends on: when it changes, the request is repeated at once."""
    pools = frozenset().union(*(node.pools for node in facts.nodes))
    decided = (decision.action, decision.volume, decision.handle, decision.node, decision.candidates, decision.modifies)
    return asked(facts), decided, pools, len(facts.volumes)


def _refusal(facts: Facts, code: str, message: str) -> Refusal:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refusal(code=code, time=now, message=message, asked=asked(facts))


def _differs_in_amounts(before: Refusal, now: Refusal, *, node_chosen: bool) -> bool:
    """
    Report whether the record need not change, because the new refusal differs in amounts only.

    Where each record removes the selected node, another message with the same code is recorded only some minutes later:
    two nodes that refuse with different messages must not alternate without a pause.
    """
    if before.code != now.code:
        return False
    if without_amounts(before.message) == without_amounts(now.message):
        return True
    return node_chosen and _seconds_between(before.time, now.time) < INFEASIBLE_SECONDS


def _seconds_between(first: str, second: str) -> float:
    """Return the seconds between two RFC 3339 times; 0 where one is invalid, since a user may have written it."""
    try:
        return (dt.datetime.fromisoformat(second) - dt.datetime.fromisoformat(first)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _remedy(claim: Object, decision: Decision) -> str:
    """Return the command after which a new volume is provisioned; "" where waiting ends without an action."""
    reason, metadata = decision.reasons[0], claim["metadata"]
    if reason.code in MAY_PASS:
        return ""
    command = f"mooring forget {reason.requested if reason.code == 'former-sibling' else metadata['name']}"
    if reason.code == "former-on-different-nodes":
        command += f"`, or `mooring forget {reason.requested}"
    return f" (to get a new one, run `{command}` for namespace {metadata['namespace']})"


def _is_young(claim: Object) -> bool:
    """Report whether the claim has existed for less than the next retry."""
    text = claim["metadata"].get("creationTimestamp")
    created = dt.datetime.fromisoformat(text) if text else dt.datetime.min.replace(tzinfo=dt.UTC)
    return dt.datetime.now(dt.UTC) - created < dt.timedelta(seconds=FORMER_SECONDS)
