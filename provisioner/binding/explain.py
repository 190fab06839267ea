"""Explain the state of an object by the reasons of the decision about it."""

from dataclasses import dataclass
from typing import Final

from provisioner.binding.decide import WAITS_FOR_NODE, decide
from provisioner.binding.decision import Action, Decision, Reason
from provisioner.binding.deletion import claim_deletion, volume_deletion
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.expand import expansion
from provisioner.binding.lifecycle.modify import modification
from provisioner.binding.lifecycle.node_loss_messages import recorded_loss
from provisioner.binding.matching.match import rejection
from provisioner.binding.refused import last_refusal
from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.volume import Volume

NEAREST_FIRST = (
    "access-modes", "affinity", "class", "selector", "phase", "capacity", "attributes-class", "volume-mode",
    "waits-for-consumer", "deleting", "former-claim", "other-claim", "taken-by-sibling",
)  # fmt: skip
"""The checks of the matcher, last first: a volume that fails a later check is a nearer miss."""

SIZE_NOTES: Final[dict[str | None, str]] = {"accounted": "size only accounted", "enforced": "size enforced"}
"""The value of the volume context's size key, as text."""


TERMINATING: Final = "Terminating"
"""The state of an object that is being deleted, as kubectl shows it."""

_DELETING: Final = Reason("deleting")


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    The state of one object in one line, its reasons, and the volumes that did not fit, nearest miss first.

    `healthy` is False while an admin or Mooring still has to act.
    """

    subject: str
    state: str
    healthy: bool
    message: str
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Reason, ...] = ()


def explain_claim(facts: Facts, *, last_event: str = "") -> Explanation:
    """
    Explain which volume the claim has, or why it has none and what to do.

    `last_event` is the message of Mooring's newest Event about this claim, if that is a warning. It is used where no
    refusal is recorded and the facts alone would lead to a new volume.
    """
    claim = facts.claim
    if claim.deleting:
        message = claim_deletion(claim, facts.pods)
        if claim.volume_name:
            message += f"; it has volume {claim.volume_name}"
        return Explanation(f"claim {claim.key}", TERMINATING, healthy=False, message=message, reasons=(_DELETING,))
    decision = decide(facts)
    if pending := _pending_changes(facts):
        message = f"it is bound to volume {claim.volume_name}; {'; '.join(each.message for each in pending)}"
        return Explanation(f"claim {claim.key}", claim.phase, healthy=False, message=message, reasons=pending)
    rejected: list[Reason] = []
    if decision.action in {Action.WAIT, Action.PROVISION, Action.NOT_MANAGED} and not claim.volume_name:
        found = (rejection(claim, volume, delay_binding=facts.waits_for_consumer) for volume in facts.volumes)
        rejected = sorted(
            (each for each in found if each is not None),
            key=lambda each: (NEAREST_FIRST.index(each.code), each.volume),
        )
    return Explanation(
        subject=f"claim {claim.key}",
        state=claim.phase,
        healthy=claim.phase == "Bound",
        message=_claim_message(facts, decision, last_event),
        reasons=decision.reasons,
        rejected=tuple(rejected),
    )


def _pending_changes(facts: Facts) -> tuple[Reason, ...]:
    """Return the reasons why a bound claim differs from its specification, or is about to lose its volume."""
    volume = facts.named
    expands = expansion(facts.claim, volume, storage_class=facts.storage_class).reasons
    modifies = modification(facts.claim, volume, attributes_class=facts.attributes_class).reasons
    return recorded_loss(volume) + expands + modifies


def _claim_message(facts: Facts, decision: Decision, last_event: str) -> str:
    claim = facts.claim
    volume = facts.volumes.get(decision.volume)
    if decision.action is Action.DONE and volume is not None:
        return f"it is bound to volume {volume.name}{_where(volume)}"
    if decision.action is Action.BIND:
        return f"volume {decision.volume} is being bound to it"
    if decision.action is Action.ADOPT:
        return f"it adopts its former volume {decision.volume}"
    if decision.action is Action.EXPAND and volume is not None:
        sizes = f"from {volume.capacity} to {claim.request}"
        return f"its former volume {volume.name} is expanded {sizes} before it is adopted"
    if decision.action in {Action.REBUILD, Action.UNDELETE}:
        where = "the trash" if decision.action is Action.UNDELETE else "its pool"
        return f"it adopts its former volume {decision.volume} from {where}"
    if decision.action is Action.PROVISION and (refused := last_refusal(facts)):
        return f"it has no volume yet: {refused[0].message}"
    if decision.action is Action.PROVISION and last_event:
        return f"it has no volume yet: {last_event}"
    if decision.action is Action.PROVISION:
        node = f" on node {decision.node}" if decision.node else ""
        more = (each.message for each in decision.reasons if each.code != "provisioning")
        return "; ".join(
            (f"a new volume of {claim.request.readable(up=True)} is being provisioned for it{node}", *more)
        )
    if last_event and decision.reasons and decision.reasons[-1].code in WAITS_FOR_NODE:
        return f"{decision.message}; {last_event}"
    return decision.message


def _where(volume: Volume) -> str:
    """Return capacity, backend and pool, as far as the PersistentVolume has them."""
    attributes = volume.volume_attributes
    backend, pool = attributes.get("mooring.dev/backend"), attributes.get("mooring.dev/pool")
    size = SIZE_NOTES.get(attributes.get("mooring.dev/size"))
    location = f"{backend} in pool {pool}" if backend and pool else backend
    return f" ({', '.join(each for each in (volume.capacity.readable(), location, size) if each)})"


def explain_volume(volume: Volume, *, claim: Claim | None) -> Explanation:
    """Explain which claim has or had the volume. `claim` is the existing one of its claimRef's name."""
    ref = volume.claim_ref
    subject = f"volume {volume.name}"
    if volume.deleting:
        message = volume_deletion(volume, claim)
        return Explanation(subject, TERMINATING, healthy=False, message=message, reasons=(_DELETING,))
    if ref is None:
        message = f"it belongs to no claim; any claim that fits may be bound to it{_where(volume)}"
    elif claim is not None and claim.uid == ref.uid:
        verb = "is bound to" if claim.volume_name == volume.name else "is reserved for"
        message = f"it {verb} claim {ref}{_where(volume)}"
    elif not ref.uid:
        message = f"it is reserved for a claim named {ref}{_where(volume)}"
    elif claim is not None:
        message = (
            f"it belonged to an earlier claim {ref}; the present claim of that name is another one (UID {claim.uid})"
        )
    else:
        message = f"its claim {ref} was deleted; {_outcome(volume)}"
    healthy = volume.phase in {"Bound", "Available"} or (
        volume.phase == "Released" and volume.reclaim_policy == "Retain"
    )
    return Explanation(subject=subject, state=volume.phase, healthy=healthy, message=message)


def _outcome(volume: Volume) -> str:
    if names.RELEASED in volume.annotations:
        return "it was released, and its data is retained until the volume is deleted"
    if volume.reclaim_policy == "Delete":
        return "its policy is Delete, so it is moved to the trash"
    notes = volume.annotations
    if names.STATEFUL_SET in notes and names.ORDINAL in notes:
        owner = f"{notes[names.STATEFUL_SET]}-{notes[names.ORDINAL]}"
        return f"its data is retained, and ordinal {owner} adopts it when its claim is recreated"
    return "its data is retained"
