"""
A claim's status while its VolumeAttributesClass is modified, as external-resizer writes it.

Source: external-resizer, pkg/modifycontroller/modify_status.go.
"""

from collections.abc import Mapping
from typing import Final

from provisioner.actions.claim_status import conditions
from provisioner.binding.lifecycle.modify import ERROR, IN_PROGRESS, INFEASIBLE, MODIFYING, PENDING
from provisioner.model.kinds import Json, Object

FAMILY: Final = frozenset({MODIFYING, ERROR})


def pending(claim: Object, *, target: str) -> Json:
    """Return the status for a class that does not exist."""
    return _at(claim, target, PENDING, {})


def in_progress(claim: Object, *, target: str) -> Json:
    """Return the status while the driver is called."""
    return _at(claim, target, IN_PROGRESS, {MODIFYING: ""})


def failed(claim: Object, *, target: str, message: str, infeasible: bool) -> Json:
    """Return the status after a refusal; unless it is infeasible, the modification may still be in progress."""
    return _at(claim, target, INFEASIBLE if infeasible else IN_PROGRESS, {MODIFYING: "", ERROR: message})


def finished(claim: Object, *, current: str) -> Json:
    """Return the status of a volume with the attributes of class `current`."""
    return {
        "currentVolumeAttributesClassName": current or None,
        "modifyVolumeStatus": None,
        "conditions": conditions(claim, family=FAMILY, true={}),
    }


def _at(claim: Object, target: str, state: str, true: Mapping[str, str]) -> Json:
    return {
        "modifyVolumeStatus": {"targetVolumeAttributesClassName": target, "status": state},
        "conditions": conditions(claim, family=FAMILY, true=true),
    }
