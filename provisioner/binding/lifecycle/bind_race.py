"""
PersistentVolumes that lost a bind race: their claim was bound to another one while they were created or adopted.

kube-controller-manager then removes the claim's UID from such a volume and leaves it Available, reserved by name or for
any claim. The next claim of that name would be bound to it at once, whether it is empty or outdated.
Source: kubernetes, pkg/controller/volume/persistentvolume/pv_controller.go (syncVolume, unbindVolume).
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioner.binding.decision import Reason
from provisioner.model import history, names
from provisioner.model.claim import Claim
from provisioner.model.history import Owner
from provisioner.model.volume import ClaimRef, Volume


class Outcome(enum.Enum):
    """What is done with a volume that lost a bind race."""

    COLLECT = "collect"
    """It was never bound, which is proven: it is moved to the trash, and its PersistentVolume is deleted."""
    RETAIN = "retain"
    """It was probably never bound, but its claim was deleted: it is retained, and no claim gets it automatically."""
    FORMER = "former"
    """It has data, and stays the former volume of the claim that had it last."""


@dataclass(frozen=True, slots=True)
class RaceLoser:
    """
    A volume that lost a bind race, and why.

    :ivar uid: the UID to write to its claimRef, which has none
    :ivar owners: the claims that had it before
    """

    outcome: Outcome
    reason: Reason
    uid: str
    owners: Sequence[Owner]


def meant_for(volume: Volume) -> Owner | None:
    """Return the claim that the volume was meant for, if it may have lost a bind race; None for all other volumes."""
    ref = volume.claim_ref
    owners = history.read(volume.annotations.get(names.HISTORY, ""))
    if volume.driver != names.DRIVER or volume.phase != "Available" or volume.deleting:
        return None
    # The binder removes its annotation together with the UID: where it is left, another client removed the UID.
    if volume.bound_by_controller or not owners or not owners[-1].claim_uid:
        return None
    return owners[-1] if ref is None or ref == _by_name(owners[-1]) else None


def lost_race(volume: Volume, *, claim: Claim | None, others: Iterable[Volume]) -> RaceLoser | None:
    """
    Decide what to do with a volume that lost a bind race; None when it did not, or when that is unknown.

    :param claim: the claim of that name, read from the API server and not from a cache
    :param others: all volumes

    A claim never changes its volumeName, so one that is bound to another volume never had this one. When the claim was
    deleted, another volume that still has its UID shows the same, but does not suffice as proof for deletion.
    """
    meant = meant_for(volume)
    if meant is None:
        return None
    owners = history.read(volume.annotations[names.HISTORY])[:-1]
    exists = claim is not None and claim.uid == meant.claim_uid
    bound_to = _bound_elsewhere(claim, volume) if exists else _named_by_another(meant, others)
    if not bound_to or (volume.claim_ref is None and (owners or not exists)):
        return None  # an admin who removes the whole claimRef of a volume with data makes it available on purpose
    key = f"{meant.namespace}/{meant.claim}"
    if owners:
        before = owners[-1].claim_uid if _by_name(owners[-1]) == _by_name(meant) else ""
        reason = Reason("bind-race-former", volume.name, requested=key, actual=bound_to)
        return RaceLoser(Outcome.FORMER, reason, before, owners) if before else None
    if not _provisioned_for(volume, meant):
        return None
    if exists:
        return RaceLoser(
            Outcome.COLLECT, Reason("bind-race-empty", volume.name, key, bound_to), names.LOST_RACE_UID, owners
        )
    reason = Reason("bind-race-unproven", volume.name, key, bound_to)
    return RaceLoser(Outcome.RETAIN, reason, meant.claim_uid, (meant,))


def is_collected(volume: Volume) -> bool:
    """Report whether the volume is to be moved to the trash, which its claimRef's UID records."""
    ref = volume.claim_ref
    return volume.driver == names.DRIVER and ref is not None and ref.uid in names.LOST_RACE_UIDS


def _bound_elsewhere(claim: Claim | None, volume: Volume) -> str:
    """Return the other volume that the claim is bound to; "" when it is not bound to one."""
    if claim is None or not claim.bind_completed or claim.volume_name == volume.name:
        return ""
    return claim.volume_name


def _named_by_another(meant: Owner, others: Iterable[Volume]) -> str:
    """Return the volume whose claimRef still has the claim's UID; "" when there is none."""
    return next((each.name for each in others if each.claim_ref and each.claim_ref.uid == meant.claim_uid), "")


def _provisioned_for(volume: Volume, meant: Owner) -> bool:
    """Report whether it was provisioned for exactly this claim, and was not recovered from a disk."""
    name = f"pvc-{meant.claim_uid}"
    return (
        volume.provisioned_by == names.DRIVER
        and volume.name == name
        and volume.handle.partition(".")[2] == name
        and names.RECOVERED not in volume.annotations
    )


def _by_name(owner: Owner) -> ClaimRef:
    return ClaimRef(owner.namespace, owner.claim)
