"""
Volumes that lost a race: the claim they were made for, or were about to go back to, was bound to another volume.

kube-controller-manager then takes the claim's UID off such a volume and leaves it Available, reserved by name or for
anybody: the next claim of that name would be bound to it at once, be it empty or out of date.
Source: kubernetes, pkg/controller/volume/persistentvolume/pv_controller.go (syncVolume, unbindVolume).
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioner.binding.decision import Reason
from provisioner.model import history, names
from provisioner.model.claim import Claim
from provisioner.model.history import Held
from provisioner.model.volume import ClaimRef, Volume


class Outcome(enum.Enum):
    """What becomes of a volume that lost."""

    COLLECT = "collect"
    """Nobody ever had it, and that is proven: it goes to the trash, and its object with it."""
    SET_ASIDE = "set aside"
    """Most likely nobody ever had it, but its claim is gone: it is kept, and no claim gets it by itself."""
    GIVE_BACK = "give back"
    """It has data: it is what it was before, the former volume of the claim that had it last."""


@dataclass(frozen=True, slots=True)
class RaceLoser:
    """
    A volume that lost, and why.

    `uid` is what its claimRef says from now on, where it says none; `held` are the claims that did have it.
    """

    fate: Outcome
    reason: Reason
    uid: str
    held: Sequence[Held]


def meant_for(volume: Volume) -> Held | None:
    """The claim that was to have the volume, if the volume looks as if it had lost; None for all others."""
    ref = volume.claim_ref
    held = history.read(volume.annotations.get(names.HISTORY, ""))
    if volume.driver != names.DRIVER or volume.phase != "Available" or volume.deleting:
        return None
    # The binder's own mark goes with the UID: where it stays, somebody else made the volume free.
    if volume.bound_by_controller or not held or not held[-1].claim_uid:
        return None
    return held[-1] if ref is None or ref == _by_name(held[-1]) else None


def leftover(volume: Volume, *, claim: Claim | None, others: Iterable[Volume]) -> RaceLoser | None:
    """
    What becomes of the volume; None when it did not lose, or when that cannot be told.

    `claim` is the claim of that name as the API server has it now, not as a cache does; `others` are all volumes.

    A claim names its volume once and for all, so one that is bound to another volume never had this one. When the claim
    is gone, another volume that still has its UID tells the same, as the binder would have taken it off that one, too;
    but that is no proof to delete by.
    """
    meant = meant_for(volume)
    if meant is None:
        return None
    held = history.read(volume.annotations[names.HISTORY])[:-1]
    lives = claim is not None and claim.uid == meant.claim_uid
    got = _bound_elsewhere(claim, volume) if lives else _named_by_another(meant, others)
    if not got or (volume.claim_ref is None and (held or not lives)):
        return None  # whoever takes a whole claimRef off a volume that may have data knows what that means
    key = f"{meant.namespace}/{meant.claim}"
    if held:
        before = held[-1].claim_uid if _by_name(held[-1]) == _by_name(meant) else ""
        reason = Reason("bind-race-former", volume.name, requested=key, actual=got)
        return RaceLoser(Outcome.GIVE_BACK, reason, before, held) if before else None
    if not _made_for(volume, meant):
        return None
    if lives:
        return RaceLoser(Outcome.COLLECT, Reason("bind-race-empty", volume.name, key, got), names.LOST_RACE_UID, held)
    reason = Reason("bind-race-unproven", volume.name, key, got)
    return RaceLoser(Outcome.SET_ASIDE, reason, meant.claim_uid, (meant,))


def is_collected(volume: Volume) -> bool:
    """Whether it was decided already that the volume goes to the trash: its claimRef is the proof, written down."""
    ref = volume.claim_ref
    return volume.driver == names.DRIVER and ref is not None and ref.uid in names.LOST_RACE_UIDS


def _bound_elsewhere(claim: Claim | None, volume: Volume) -> str:
    """The other volume that the claim is bound to; "" when it is not, or not yet."""
    if claim is None or not claim.bind_completed or claim.volume_name == volume.name:
        return ""
    return claim.volume_name


def _named_by_another(meant: Held, others: Iterable[Volume]) -> str:
    """The volume that belongs to the claim to this day, by UID; "" when there is none."""
    return next((each.name for each in others if each.claim_ref and each.claim_ref.uid == meant.claim_uid), "")


def _made_for(volume: Volume, meant: Held) -> bool:
    """Whether it was made for exactly this claim, and is not one that was found again on a disk."""
    name = f"pvc-{meant.claim_uid}"
    return (
        volume.provisioned_by == names.DRIVER
        and volume.name == name
        and volume.handle.partition(".")[2] == name
        and names.RECOVERED not in volume.annotations
    )


def _by_name(held: Held) -> ClaimRef:
    return ClaimRef(held.namespace, held.claim)
