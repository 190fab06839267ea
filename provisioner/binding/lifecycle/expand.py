"""
Does a bound claim's volume have to grow, to what size, and whose turn is it?

Source: external-resizer, pkg/controller/expand_and_recover.go; kubernetes, pkg/kubelet/volumemanager (node's part); the
states are those of KEP-1790. An expansion that was begun is finished before another one begins, unless the driver has
finally refused it: only then can a smaller request take its place.
"""

import enum
from dataclasses import dataclass
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.model.claim import Claim
from provisioner.model.names import DRIVER
from provisioner.model.quantity import ZERO, Quantity
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

IN_PROGRESS: Final = "ControllerResizeInProgress"
INFEASIBLE: Final = "ControllerResizeInfeasible"
NODE_PENDING: Final = "NodeResizePending"
NODE_IN_PROGRESS: Final = "NodeResizeInProgress"
NODE_INFEASIBLE: Final = "NodeResizeInfeasible"

RESIZING: Final = "Resizing"
FILE_SYSTEM_PENDING: Final = "FileSystemResizePending"
CONTROLLER_ERROR: Final = "ControllerResizeError"
NODE_ERROR: Final = "NodeResizeError"


class Turn(enum.Enum):
    """Who acts next."""

    NOBODY = "nobody"
    """It is as large as it is asked to be, or not ours to grow."""
    CONTROLLER = "controller"
    """ControllerExpandVolume, to the size of the decision."""
    NODE = "node"
    """The volume is large enough, its filesystem not yet: kubelet's work, or the embedded engine's agent's."""
    USER = "user"
    """Nothing happens until somebody changes something."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Whose turn it is, and why the claim does not have what it asks for yet."""

    turn: Turn
    size: Quantity = ZERO
    reasons: tuple[Reason, ...] = ()


NONE: Final = Growth(Turn.NOBODY)


def growth(claim: Claim, volume: Volume | None, *, storage_class: StorageClass | None, refused: bool = False) -> Growth:
    """
    What is to be done so that the claim has what it asks for.

    `refused` says that the driver's last answer was final: nothing of that expansion goes on. Only a claim and a volume
    that name each other are touched.
    """
    if volume is None or not are_bound(claim, volume) or claim.request <= has(claim, volume):
        return NONE
    size = _size(claim, refused=refused)
    begun = claim.resize_status != ""
    if claim.resize_status in {NODE_PENDING, NODE_IN_PROGRESS} and volume.capacity >= size:
        return Growth(Turn.NODE, volume.capacity, (_from_to("node-expand-pending", claim, volume.capacity),))
    grows_by_itself = volume.capacity >= claim.request
    if not begun and not grows_by_itself and storage_class is not None and not storage_class.allows_expansion:
        return Growth(Turn.USER, size, (Reason("expand-not-allowed", actual=storage_class.name),))
    return Growth(Turn.CONTROLLER, size, (_why(claim, size),))


def has(claim: Claim, volume: Volume) -> Quantity:
    """What the claim can use now; its status says so as soon as it is bound."""
    return claim.capacity if claim.capacity > ZERO else volume.capacity


def are_bound(claim: Claim, volume: Volume) -> bool:
    """Whether the two name each other, and the volume is ours to change."""
    ref = volume.claim_ref
    return (
        claim.phase == "Bound"
        and not claim.deleting
        and claim.volume_name == volume.name
        and volume.driver == DRIVER
        and ref is not None
        and ref.uid == claim.uid
    )


def _size(claim: Claim, *, refused: bool) -> Quantity:
    """
    What the volume grows to: the request, or what was begun and is not known to have failed.

    Upstream goes on with what was refused when the volume has the smaller request already, and never gets out of it.
    """
    begun = claim.allocated or claim.request
    if claim.resize_status == IN_PROGRESS:
        return claim.request if refused else begun
    return begun if claim.resize_status in {NODE_PENDING, NODE_IN_PROGRESS, NODE_INFEASIBLE} else claim.request


def _why(claim: Claim, size: Quantity) -> Reason:
    if claim.resize_status == NODE_INFEASIBLE:
        said = claim.conditions.get(NODE_ERROR, "the node does not say why")
        return Reason("node-expand-refused", requested=size.readable(up=True), actual=said)
    if CONTROLLER_ERROR in claim.conditions and claim.allocated == size:
        code = "expand-refused" if claim.resize_status == INFEASIBLE else "expand-failed"
        return Reason(code, requested=size.readable(up=True), actual=claim.conditions[CONTROLLER_ERROR])
    return _from_to("expanding", claim, size)


def _from_to(code: str, claim: Claim, size: Quantity) -> Reason:
    return Reason(code, requested=size.readable(up=True), actual=claim.capacity.readable())


def node_part(claim: Claim, volume: Volume) -> Quantity | None:
    """
    What the filesystem has to grow to on the node; None when there is nothing for the node to do.

    A volume that grew before this claim was bound to it shows by its size alone that the filesystem is to follow.
    """
    mine = are_bound(claim, volume) and volume.capacity > has(claim, volume)
    return volume.capacity if mine and claim.resize_status in {"", NODE_PENDING, NODE_IN_PROGRESS} else None
