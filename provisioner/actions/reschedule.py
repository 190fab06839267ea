"""
Reschedule a claim: the scheduler then selects another node for its pod.

A provisioner that cannot provision on the selected node removes that node from the claim.
Source: external-provisioner, controller (rescheduling); kube-scheduler, volumebinding, checkBindings.
"""

import contextlib

import structlog

from provisioner.kube.errors import Forbidden, Invalid, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, Object
from provisioner.model.names import LAST_REFUSAL, SELECTED_NODE
from provisioner.model.refusal import Refusal

log = structlog.get_logger()


async def reschedule(transport: Transport, claim: Object, *, why: str, refusal: Refusal | None = None) -> None:
    """
    Remove the selected node from the claim and record the refusal that is the cause, in one write.

    Where an admission policy of an earlier version forbids the record, the node is removed without it. Raises Conflict
    when the claim has changed since the decision.
    """
    metadata = claim["metadata"]
    guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    annotations = {SELECTED_NODE: None, **({LAST_REFUSAL: refusal.write()} if refusal else {})}
    patch = {"metadata": {**guard, "annotations": annotations}}
    with contextlib.suppress(NotFound):
        try:
            await transport.patch(CLAIM, metadata["name"], patch, namespace=metadata["namespace"])
        except (Forbidden, Invalid):
            if annotations.pop(LAST_REFUSAL, None) is None:
                raise
            await transport.patch(CLAIM, metadata["name"], patch, namespace=metadata["namespace"])
    log.info("claim.rescheduled", claim=f"{metadata['namespace']}/{metadata['name']}", why=why)
