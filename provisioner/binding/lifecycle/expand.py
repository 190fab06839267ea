"""
Decide whether a bound claim's volume has to be expanded, to what size, and by which component.

Source: external-resizer, pkg/controller/expand_and_recover.go; kubernetes, pkg/kubelet/volumemanager (node's part); the
states are those of KEP-1790. An expansion is finished before another one starts, unless the driver has finally refused
it: only then a smaller request can replace it.
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
    """The component that acts next."""

    NONE = "none"
    """None: the volume is as large as requested, or is not Mooring's."""
    CONTROLLER = "controller"
    """The controller, by ControllerExpandVolume to the size of the decision."""
    NODE = "node"
    """Kubelet, or the engine's: the volume is large enough, and its filesystem is not expanded yet."""
    USER = "user"
    """None until the claim, its class or the volume is changed."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The component that acts next, and why the claim does not have the requested capacity yet."""

    turn: Turn
    size: Quantity = ZERO
    reasons: tuple[Reason, ...] = ()


NONE: Final = Expansion(Turn.NONE)


def expansion(
    claim: Claim, volume: Volume | None, *, storage_class: StorageClass | None, refused: bool = False
) -> Expansion:
    """
    Decide how the claim gets the requested capacity.

    `refused` means that the driver finally refused the last expansion, so that nothing of it is in progress. Only a
    claim and a volume that name each other are expanded.
    """
    if volume is None or not are_bound(claim, volume) or claim.request <= has(claim, volume):
        return NONE
    size = _size(claim, refused=refused)
    started = claim.resize_status != ""
    if claim.resize_status in {NODE_PENDING, NODE_IN_PROGRESS} and volume.capacity >= size:
        return Expansion(Turn.NODE, volume.capacity, (_from_to("node-expand-pending", claim, volume.capacity),))
    is_large_enough = volume.capacity >= claim.request
    if not started and not is_large_enough and storage_class is not None and not storage_class.allows_expansion:
        return Expansion(Turn.USER, size, (Reason("expand-not-allowed", actual=storage_class.name),))
    return Expansion(Turn.CONTROLLER, size, (_why(claim, size),))


def has(claim: Claim, volume: Volume) -> Quantity:
    """Return the claim's present capacity, which its status has as soon as it is bound."""
    return claim.capacity if claim.capacity > ZERO else volume.capacity


def are_bound(claim: Claim, volume: Volume) -> bool:
    """Report whether the two name each other, and the volume is Mooring's."""
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
    Return the size to expand to: the request, or that of a started expansion that is not known to have failed.

    Upstream repeats a refused expansion when the volume already has the smaller requested size, and never ends that.
    """
    started = claim.allocated or claim.request
    if claim.resize_status == IN_PROGRESS:
        return claim.request if refused else started
    return started if claim.resize_status in {NODE_PENDING, NODE_IN_PROGRESS, NODE_INFEASIBLE} else claim.request


def _why(claim: Claim, size: Quantity) -> Reason:
    if claim.resize_status == NODE_INFEASIBLE:
        message = claim.conditions.get(NODE_ERROR, "the node reports no reason")
        return Reason("node-expand-refused", requested=size.readable(up=True), actual=message)
    if CONTROLLER_ERROR in claim.conditions and claim.allocated == size:
        code = "expand-refused" if claim.resize_status == INFEASIBLE else "expand-failed"
        return Reason(code, requested=size.readable(up=True), actual=claim.conditions[CONTROLLER_ERROR])
    return _from_to("expanding", claim, size)


def _from_to(code: str, claim: Claim, size: Quantity) -> Reason:
    return Reason(code, requested=size.readable(up=True), actual=claim.capacity.readable())


def node_part(claim: Claim, volume: Volume) -> Quantity | None:
    """
    Return the size to which the node has to expand the filesystem; None when it has nothing to do.

    For a volume that was expanded before this claim was bound to it, only its size shows that.
    """
    pending = are_bound(claim, volume) and volume.capacity > has(claim, volume)
    return volume.capacity if pending and claim.resize_status in {"", NODE_PENDING, NODE_IN_PROGRESS} else None
