"""Why an object is as it is: the decision's own reasons, put into sentences for a person."""

from dataclasses import dataclass
from typing import Final

from provisioner.binding.decide import WAITS_FOR_NODE, decide
from provisioner.binding.decision import Action, Decision, Reason
from provisioner.binding.deletion import claim_deletion, volume_deletion
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.expand import growth
from provisioner.binding.lifecycle.modify import modification
from provisioner.binding.lifecycle.node_loss_messages import noted_loss
from provisioner.binding.matching.match import rejection
from provisioner.binding.refused import last_refusal
from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.volume import Volume

NEAREST_FIRST = (
    "access-modes", "affinity", "class", "selector", "phase", "capacity", "attributes-class", "volume-mode",
    "waits-for-consumer", "deleting", "former-claim", "other-claim", "taken-by-sibling",
)  # fmt: skip
"""A volume that fails a later check of the matcher came nearer to fitting; these are the checks, last first."""

SIZE_NOTES: Final[dict[str | None, str]] = {"accounted": "size only accounted", "enforced": "size enforced"}
"""What the volume's context says about its size, for people."""


TERMINATING: Final = "Terminating"
"""What kubectl shows as the state of an object that is being deleted."""

_DELETING: Final = Reason("deleting")


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    One object's state in one sentence, its reasons, and the volumes that did not fit, nearest miss first.

    `well` tells whether anything is left to do for a person or for Mooring.
    """

    subject: str
    state: str
    healthy: bool
    message: str
    reasons: tuple[Reason, ...] = ()
    rejected: tuple[Reason, ...] = ()


def explain_claim(facts: Facts, *, last_event: str = "") -> Explanation:
    """
    Which volume the claim has, or why it has none, and what to do about it.

    `last_event` is the message of Mooring's newest Event about this very claim, if that is a warning: it counts where
    no refusal is on record and the facts alone would have a volume created.
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
        message=_claim_sentence(facts, decision, last_event),
        reasons=decision.reasons,
        rejected=tuple(rejected),
    )


def _pending_changes(facts: Facts) -> tuple[Reason, ...]:
    """What a bound claim asks for and does not have yet, or is about to lose."""
    volume = facts.named
    grows = growth(facts.claim, volume, storage_class=facts.storage_class).reasons
    modifies = modification(facts.claim, volume, attributes_class=facts.attributes_class).reasons
    return noted_loss(volume) + grows + modifies


def _claim_sentence(facts: Facts, decision: Decision, last_event: str) -> str:
    claim = facts.claim
    volume = facts.volumes.get(decision.volume)
    if decision.action is Action.DONE and volume is not None:
        return f"it is bound to volume {volume.name}{_where(volume)}"
    if decision.action is Action.BIND:
        return f"volume {decision.volume} is being bound to it"
    if decision.action is Action.ADOPT:
        return f"its former volume {decision.volume} comes back to it"
    if decision.action is Action.EXPAND and volume is not None:
        sizes = f"from {volume.capacity} to {claim.request}"
        return f"its former volume {volume.name} has to grow {sizes} before it comes back"
    if decision.action in {Action.REBUILD, Action.UNDELETE}:
        where = "the trash" if decision.action is Action.UNDELETE else "its pool"
        return f"its former volume {decision.volume} comes back to it from {where}"
    if decision.action is Action.PROVISION and (refused := last_refusal(facts)):
        return f"it has no volume yet: {refused[0].message}"
    if decision.action is Action.PROVISION and last_event:
        return f"it has no volume yet: {last_event}"
    if decision.action is Action.PROVISION:
        node = f" on node {decision.node}" if decision.node else ""
        more = (each.message for each in decision.reasons if each.code != "provisioning")
        return "; ".join((f"a new volume of {claim.request.readable(up=True)} is being made for it{node}", *more))
    if last_event and decision.reasons and decision.reasons[-1].code in WAITS_FOR_NODE:
        return f"{decision.message}; {last_event}"
    return decision.message


def _where(volume: Volume) -> str:
    """Size, backend and pool, as far as the volume itself tells."""
    told = volume.volume_attributes
    backend, pool = told.get("mooring.dev/backend"), told.get("mooring.dev/pool")
    size = SIZE_NOTES.get(told.get("mooring.dev/size"))
    place = f"{backend} in pool {pool}" if backend and pool else backend
    return f" ({', '.join(each for each in (volume.capacity.readable(), place, size) if each)})"


def explain_volume(volume: Volume, *, claim: Claim | None) -> Explanation:
    """Whose the volume is, or was, and what will become of it. `claim` is the live one of its claimRef's name."""
    ref = volume.claim_ref
    subject = f"volume {volume.name}"
    if volume.deleting:
        message = volume_deletion(volume, claim)
        return Explanation(subject, TERMINATING, healthy=False, message=message, reasons=(_DELETING,))
    if ref is None:
        message = f"it belongs to no claim; any claim that fits may take it{_where(volume)}"
    elif claim is not None and claim.uid == ref.uid:
        verb = "is bound to" if claim.volume_name == volume.name else "is reserved for"
        message = f"it {verb} claim {ref}{_where(volume)}"
    elif not ref.uid:
        message = f"it is reserved for a claim named {ref}{_where(volume)}"
    elif claim is not None:
        message = f"it belonged to an earlier claim {ref}; the claim of that name now is another (UID {claim.uid})"
    else:
        message = f"its claim {ref} is gone; {_fate(volume)}"
    healthy = volume.phase in {"Bound", "Available"} or (
        volume.phase == "Released" and volume.reclaim_policy == "Retain"
    )
    return Explanation(subject=subject, state=volume.phase, healthy=healthy, message=message)


def _fate(volume: Volume) -> str:
    if names.RELEASED in volume.annotations:
        return "it was released, and its data is kept until the volume is deleted"
    if volume.reclaim_policy == "Delete":
        return "its policy is Delete, so it goes to the trash"
    notes = volume.annotations
    if names.STATEFUL_SET in notes and names.ORDINAL in notes:
        owner = f"{notes[names.STATEFUL_SET]}-{notes[names.ORDINAL]}"
        return f"its data is kept, and goes to ordinal {owner} when that comes back"
    return "its data is kept"
