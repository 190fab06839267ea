"""
A claim's status while its volume is expanded, as external-resizer and kubelet write it.

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
ON_NODE: Final = "the node expands the filesystem as soon as a pod uses the volume"


def in_progress(claim: Object, *, size: Quantity) -> Json:
    """Return the status when the controller starts to expand the volume."""
    return {"allocatedResources": {"storage": str(size)}, **_at(claim, IN_PROGRESS, {RESIZING: ""})}


def failed(claim: Object, *, message: str, infeasible: bool) -> Json:
    """Return the status after the driver refused; with `infeasible` a smaller request may replace it."""
    return _at(claim, INFEASIBLE if infeasible else IN_PROGRESS, {RESIZING: "", CONTROLLER_ERROR: message})


def waits_for_node(claim: Object) -> Json:
    """Return the status when the volume is expanded and its filesystem is not."""
    return _at(claim, NODE_PENDING, {FILE_SYSTEM_PENDING: ON_NODE})


def on_node(claim: Object) -> Json:
    """Return the status when the node starts to expand the filesystem."""
    return _at(claim, NODE_IN_PROGRESS, {FILE_SYSTEM_PENDING: ON_NODE})


def failed_on_node(claim: Object, *, message: str, infeasible: bool) -> Json:
    """Return the status after the node failed; when infeasible, it does not retry."""
    state = NODE_INFEASIBLE if infeasible else NODE_IN_PROGRESS
    return _at(claim, state, {FILE_SYSTEM_PENDING: ON_NODE, NODE_ERROR: message})


def finished(claim: Object, *, size: Quantity) -> Json:
    """Return the status of a finished expansion; `allocatedResources` stays, as in upstream."""
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
