"""
What becomes of a claim that gets no volume now: its refusal is recorded, reported and tried again.

The record is the source: the Event, `mooring explain` and `mooring wait` say what it says, and it outlives the Event.
It is an annotation of the claim (`binding.refused`). A claim that waits for its first consumer in a cluster is written
only with the patch that removes its selected node: any other write could conflict with the scheduler's own.
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
from provisioner.drivers.client import DriverUnavailable, FormerVolume, RpcError, State
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
"""The longest pause before the same is asked again of a driver that refused it; anything else is asked at once."""
ROOM_SECONDS = 30.0
"""The same where there was no room: other volumes go without waking this claim."""
FORMER_SECONDS = 15.0

MAY_PASS = frozenset({"former-sibling-missing", "former-sibling-deleting", "former-sibling-expanding"})
"""Reasons to wait that mostly end by themselves while a StatefulSet makes the claims of a pod."""

REPORTED = ("class", "attributes-class", "sibling", "source", "selector-set")
"""Beginnings of the codes of reasons that a user has to know and can change; the others take their time."""


_NOT_FOUND = grpc.StatusCode.NOT_FOUND


class FormerRefused(RpcError):
    """The driver refused to change a former volume into what its claim asks for."""


class Refusals:
    """
    Records, reports and retries what was refused.

    With `reschedules`, a scheduler chooses nodes for claims that wait for their first consumer: one that cannot serve a
    claim is taken off it, and nothing else is written to such a claim.
    """

    def __init__(self, transport: Transport, recorder: Recorder, *, reschedules: bool) -> None:
        self._transport = transport
        self._announcer = EventDeduplicator(recorder)
        self._retries = Backoff()
        self._reschedules = reschedules

    def pause(self, facts: Facts, decision: Decision) -> float:
        """Seconds until the same may be asked again of the driver; 0 means at once."""
        return self._retries.left(facts.claim.uid, _wish(facts, decision))

    def forget(self, uid: str) -> None:
        """The claim of this UID was not refused this time."""
        self._retries.forget(uid)

    async def report(self, claim: Json, *, reason: str, message: str, warning: bool = False) -> bool:
        """Record an Event on the claim, unless the last one said the same; whether it was new."""
        return await self._announcer.say(claim, warning=warning, reason=reason, message=message)

    async def blocked(self, claim: Json, facts: Facts, decision: Decision) -> None:
        """Report what blocks the claim; what merely takes its time is not worth an Event."""
        if all(reason.code in MAY_PASS for reason in decision.reasons) and _is_young(claim):
            return
        if any(reason.code.startswith("former") for reason in decision.reasons):
            message = f"{decision.message}; no empty volume is made meanwhile{_way_out(claim, decision)}"
            await self.report(claim, warning=True, reason="FormerVolumeBlocked", message=message)
            if not all(facts.volumes.get(reason.volume) for reason in decision.reasons):
                # Only the drivers' disks tell of it: nothing that the API server has says why the claim waits.
                await self._record(claim, facts, _refusal(facts, decision.reasons[0].code, message))
        elif any(reason.code.startswith(REPORTED) for reason in decision.reasons):
            await self.report(claim, warning=True, reason="ProvisioningFailed", message=decision.message)

    async def unplaceable(self, claim: Json, *, why: str) -> None:
        """Take the selected node off the claim where the scheduler chooses nodes: another one could serve it."""
        if self._reschedules:
            await reschedule(self._transport, claim, why=why)

    async def failed(self, claim: Json, facts: Facts, decision: Decision, error: RpcError) -> Done | RequeueAfter:
        """The table of external-provisioner: what the driver's code means for the next try."""
        if isinstance(error, DriverUnavailable):
            return await self._away(claim, facts, error)
        if error.state is State.BACKGROUND:
            return await self.unanswered(claim, facts, error, seconds=BACKGROUND_SECONDS)
        refusal = _refusal(facts, error.code.name, error.message)
        about_former = isinstance(error, FormerVolume | FormerRefused)
        reason = "FormerVolumeBlocked" if about_former else "ProvisioningFailed"
        is_new = await self.report(claim, warning=True, reason=reason, message=refusal.message)
        name = "/".join(claim_key(claim))
        (log.warning if is_new else log.debug)("claim.failed", claim=name, code=error.code.name, error=error.message)
        if error.state is State.RESCHEDULE and self._is_scheduled(facts):
            await reschedule(self._transport, claim, why=error.message, refusal=refusal)
            return Done()
        pause = self._retries.failed(
            facts.claim.uid,
            _wish(facts, decision),
            slowly=error.infeasible and error.code is not _NOT_FOUND,  # that is about what was observed
            first=FAILED_SECONDS,
            last=ROOM_SECONDS if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED else INFEASIBLE_SECONDS,
        )
        await self._record(claim, facts, refusal)
        return RequeueAfter(pause, error.message)

    async def _away(self, claim: Json, facts: Facts, error: DriverUnavailable) -> Done | RequeueAfter:
        """
        A node without any pool never made a volume, and its claim can be given back; of another nobody knows.

        That is told by the node's own labels, so that a change of the leader forgets nothing.
        """
        node = facts.node
        if self._reschedules and node is not None and not node.pools:
            message = f"node {node.name} has no driver with a pool; the scheduler is asked for another node"
            await self.report(claim, warning=True, reason="ProvisioningFailed", message=message)
            refusal = _refusal(facts, error.code.name, message)
            await reschedule(self._transport, claim, why=message, refusal=refusal)
            return Done()
        return await self.unanswered(claim, facts, error)

    async def unanswered(
        self, claim: Json, facts: Facts, error: RpcError, *, seconds: float = DRIVER_UNAVAILABLE_SECONDS
    ) -> RequeueAfter:
        """Whether a volume was made, or the claim had one before, shows when the driver answers."""
        if self._reschedules or not _is_young(claim):
            message = f"{error.message}. Nothing is made elsewhere until that is known"
            reason = "DriverUnavailable" if isinstance(error, DriverUnavailable) else "ProvisioningFailed"
            await self.report(claim, warning=True, reason=reason, message=message)
            if not _is_young(claim) and not self._is_scheduled(facts):  # else it may have been made on that node
                await self._record(claim, facts, _refusal(facts, error.code.name, message))
        return RequeueAfter(seconds, error.message)

    async def _record(self, claim: Json, facts: Facts, refusal: Refusal) -> None:
        """
        Write the refusal on the claim, unless it says so already. Raises Conflict when the claim changed meanwhile.

        Where a scheduler may be writing to the claim, that goes with the patch that takes its choice off, once: the
        scheduler may choose another node, and when the same is refused again the claim stays where it is.
        """
        before = in_force(facts)
        if before is not None and _says_the_same(before, refusal, node_chosen=self._is_scheduled(facts)):
            return
        if self._is_scheduled(facts):
            await reschedule(self._transport, claim, why=refusal.message, refusal=refusal)
        elif not (self._reschedules and facts.waits_for_consumer):
            metadata = claim["metadata"]
            guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            patch = {"metadata": {**guard, "annotations": {LAST_REFUSAL: refusal.write()}}}
            try:
                await self._transport.patch(CLAIM, metadata["name"], patch, namespace=metadata["namespace"])
            except (NotFound, Forbidden, Invalid) as error:  # it went, or a policy of an earlier version forbids it
                log.debug("refusal.not_recorded", claim=facts.claim.key, error=error.message)

    def _is_scheduled(self, facts: Facts) -> bool:
        """Whether a scheduler chose a node for the claim, and can choose another."""
        return self._reschedules and bool(facts.claim.selected_node)


def former_refused(claim: Json, decision: Decision, error: RpcError) -> RpcError:
    """Return the error that says what keeps the former volume from coming back, or the same where that may pass."""
    if not error.final or error.code is _NOT_FOUND:
        return error
    if decision.modifies:
        wanted = claim["spec"].get("volumeAttributesClassName")
        why = f"volume {decision.volume}: it is its former volume, and cannot be given VolumeAttributesClass {wanted}"
    else:
        why = f"{decision.message}; but that is refused"
    way_out = "ask for another class" if decision.modifies else "ask for less, or make room"
    message = f"{why}: {error.message}; {way_out}; no empty volume is made meanwhile"
    return FormerRefused(code=error.code, message=message)


def _wish(facts: Facts, decision: Decision) -> object:
    """Return all that a refusal of the driver depends on: once any of it differs, it is asked again at once."""
    pools = frozenset().union(*(node.pools for node in facts.nodes))
    done = (decision.action, decision.volume, decision.handle, decision.node, decision.candidates, decision.modifies)
    return asked(facts), done, pools, len(facts.volumes)


def _refusal(facts: Facts, code: str, message: str) -> Refusal:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refusal(code=code, time=now, message=message, asked=asked(facts))


def _says_the_same(before: Refusal, now: Refusal, *, node_chosen: bool) -> bool:
    """
    Whether the record needs no change: the same but for amounts, of which there is a new one each time.

    Where each record costs the scheduler's choice, another message under the same code is recorded only some minutes
    later: two nodes that refuse in other words must not hand the claim to each other without a pause.
    """
    if before.code != now.code:
        return False
    if without_amounts(before.message) == without_amounts(now.message):
        return True
    return node_chosen and _seconds_between(before.time, now.time) < INFEASIBLE_SECONDS


def _seconds_between(first: str, second: str) -> float:
    """Between two times as RFC 3339 writes them; 0 where one cannot be read, since a user may have written it."""
    try:
        return (dt.datetime.fromisoformat(second) - dt.datetime.fromisoformat(first)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _way_out(claim: Object, decision: Decision) -> str:
    """The command by which a new volume is made all the same; none where waiting ends by itself."""
    reason, metadata = decision.reasons[0], claim["metadata"]
    if reason.code in MAY_PASS:
        return ""
    command = f"mooring forget {reason.requested if reason.code == 'former-sibling' else metadata['name']}"
    if reason.code == "former-on-different-nodes":
        command += f"`, or `mooring forget {reason.requested}"
    return f" (`{command}`, in namespace {metadata['namespace']}, has one made)"


def _is_young(claim: Object) -> bool:
    """Whether it has waited for less time than it takes to look at it once more."""
    text = claim["metadata"].get("creationTimestamp")
    created = dt.datetime.fromisoformat(text) if text else dt.datetime.min.replace(tzinfo=dt.UTC)
    return dt.datetime.now(dt.UTC) - created < dt.timedelta(seconds=FORMER_SECONDS)
