"""
A claim's status while its volume grows: who sets which of its fields to what, as external-resizer and kubelet do.

Sources: external-resizer, pkg/controller/resize_status.go; kubernetes, pkg/volume/util/resize_util.go.
"""

from collections.abc import Mapping
from typing import Final

from provisioner.actions.claim_status import conditions
from provisioner.binding.lifecycle.expand import (
    CONTROLLER_ERROR,
    FILE_SYSTEM_PENDING,
    IN_PROGRESS,
    INFEASIBLE,
    NODE_ERROR,
    NODE_IN_PROGRESS,
    NODE_INFEASIBLE,
    NODE_PENDING,
    RESIZING,
)
from provisioner.model.kinds import Json, Object
from provisioner.model.quantity import Quantity

FAMILY: Final = frozenset({RESIZING, FILE_SYSTEM_PENDING, CONTROLLER_ERROR, NODE_ERROR})
ON_NODE: Final = "the filesystem grows on the node as soon as a pod uses the volume"


def in_progress(claim: Object, *, size: Quantity) -> Json:
    """The controller sets out to grow the volume."""
    return {"allocatedResources": {"storage": str(size)}, **_at(claim, IN_PROGRESS, {RESIZING: ""})}


def failed(claim: Object, *, message: str, infeasible: bool) -> Json:
    """The driver refused; `infeasible` lets a smaller request take over."""
    return _at(claim, INFEASIBLE if infeasible else IN_PROGRESS, {RESIZING: "", CONTROLLER_ERROR: message})


def waits_for_node(claim: Object) -> Json:
    """The volume has grown, its filesystem has not."""
    return _at(claim, NODE_PENDING, {FILE_SYSTEM_PENDING: ON_NODE})


def on_node(claim: Object) -> Json:
    """The node has begun."""
    return _at(claim, NODE_IN_PROGRESS, {FILE_SYSTEM_PENDING: ON_NODE})


def failed_on_node(claim: Object, *, message: str, infeasible: bool) -> Json:
    """The node could not; infeasible means that it does not try again by itself."""
    state = NODE_INFEASIBLE if infeasible else NODE_IN_PROGRESS
    return _at(claim, state, {FILE_SYSTEM_PENDING: ON_NODE, NODE_ERROR: message})


def finished(claim: Object, *, size: Quantity) -> Json:
    """It has what it asked for; `allocatedResources` stays, as upstream leaves it."""
    return {
        "capacity": {"storage": str(size)},
        "allocatedResourceStatuses": None,
        "conditions": conditions(claim, family=FAMILY, true={}),
    }


def _at(claim: Object, state: str, true: Mapping[str, str]) -> Json:
    return {
        "allocatedResourceStatuses": {"storage": state},
        "conditions": conditions(claim, family=FAMILY, true=true),
    }
