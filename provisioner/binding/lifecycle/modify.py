"""
Decide whether a bound claim is modified to another VolumeAttributesClass, and whether that is possible.

Source: external-resizer, pkg/modifycontroller; the states are those of KEP-3751.
"""

import enum
from dataclasses import dataclass
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.binding.lifecycle.expand import are_bound
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.names import DRIVER
from provisioner.model.volume import Volume

PENDING: Final = "Pending"
IN_PROGRESS: Final = "InProgress"
INFEASIBLE: Final = "Infeasible"

MODIFYING: Final = "ModifyingVolume"
ERROR: Final = "ModifyVolumeError"


class Step(enum.Enum):
    """The next step."""

    NOTHING = "nothing"
    """The claim has the requested class."""
    MODIFY = "modify"
    """ControllerModifyVolume with the parameters of the class."""
    WAIT = "wait"
    """The class does not exist; it may be created later."""
    REFUSE = "refuse"
    """The class can never be used: it is for another driver."""
    FORGET = "forget"
    """The claim requests no class any more after a modification that did not succeed: remove its status."""


@dataclass(frozen=True, slots=True)
class Modification:
    """The next step, and why the claim does not have the class yet."""

    step: Step
    reasons: tuple[Reason, ...] = ()


def class_problem(name: str, attributes_class: AttributesClass | None) -> Reason | None:
    """Return why the named class cannot be used; None when it can, or when none is named."""
    if name and attributes_class is None:
        return Reason("attributes-class-unknown", requested=name)
    if attributes_class is not None and attributes_class.driver != DRIVER:
        return Reason("attributes-class-foreign", requested=name, actual=attributes_class.driver)
    return None


def modification(claim: Claim, volume: Volume | None, *, attributes_class: AttributesClass | None) -> Modification:
    """
    Decide how the volume gets the requested VolumeAttributesClass.

    `attributes_class` is the class that the claim names, if it exists. A claim that returns to its present class after
    a failed modification has that class applied again, since an unanswered call may have taken effect before.
    """
    requested = claim.attributes_class
    if volume is None or not are_bound(claim, volume):
        return Modification(Step.NOTHING)
    if requested == claim.current_attributes_class and not claim.modify_status:
        return Modification(Step.NOTHING)
    if not requested:  # a class cannot be removed, only replaced
        return Modification(Step.NOTHING if claim.current_attributes_class else Step.FORGET)
    if problem := class_problem(requested, attributes_class):
        return Modification(Step.WAIT if attributes_class is None else Step.REFUSE, (problem,))
    return Modification(Step.MODIFY, (_why(claim),))


def loses_attributes(claim: Claim, volume: Volume) -> bool:
    """
    Report whether the volume has a class and the claim requests none, so that they can never be bound.

    The binder binds equal classes only; the class of a PersistentVolume cannot be removed, and an unbound claim cannot
    get one. Source: kubernetes, pkg/apis/core/validation (ValidatePersistentVolumeUpdate,
    ValidatePersistentVolumeClaimUpdate).
    """
    return bool(volume.attributes_class) and not claim.attributes_class


def _why(claim: Claim) -> Reason:
    requested, actual = claim.attributes_class, claim.current_attributes_class
    if ERROR in claim.conditions and claim.modify_target == requested:
        code = "modify-refused" if claim.modify_status == INFEASIBLE else "modify-failed"
        return Reason(code, requested=requested, actual=claim.conditions[ERROR])
    return Reason("modifying", requested=requested, actual=actual)
