"""
Delete a claim so that its StatefulSet recreates it, and the pods that wait for it.

The permissions for both are in a component that is not installed by default. Without them the API server answers
Forbidden.
"""

import contextlib

import structlog

from provisioner.kube.errors import Conflict, Forbidden, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, POD, STATEFUL_SET, Json
from provisioner.model.pod import Pod

log = structlog.get_logger()


async def delete_claim(transport: Transport, claim: Claim) -> None:
    """Delete the claim of this UID, and not one that was recreated meanwhile. Raises Forbidden."""
    with contextlib.suppress(NotFound, Conflict):
        await transport.delete(CLAIM, claim.name, namespace=claim.namespace, uid=claim.uid)
        log.info("claim.deleted", claim=claim.key, claim_uid=claim.uid)


async def delete_waiting_pods(transport: Transport, *, namespace: str, claim: str) -> list[Json]:
    """
    Delete the pods of StatefulSets that wait for a deleted claim; return those that may not be deleted.

    A StatefulSet creates a missing claim only when it creates the pod, and does not watch claims.
    Source: kubernetes, pkg/controller/statefulset, stateful_set.go.
    """
    with contextlib.suppress(NotFound):
        await transport.get(CLAIM, claim, namespace)
        return []  # recreated already
    forbidden = []
    for each in (await transport.list(POD, namespace=namespace)).items:
        if not _waits(each, claim):
            continue
        metadata = each["metadata"]
        try:
            with contextlib.suppress(NotFound, Conflict):
                await transport.delete(POD, metadata["name"], namespace=namespace, uid=metadata["uid"])
                log.info("pod.deleted", pod=f"{namespace}/{metadata['name']}", claim=f"{namespace}/{claim}")
        except Forbidden:
            forbidden.append(each)
    return forbidden


def _waits(obj: Json, claim: str) -> bool:
    """Report whether the pod belongs to a StatefulSet, mounts the claim, and is on no node."""
    pod = Pod.of(obj)
    owners = {each.get("kind") for each in obj["metadata"].get("ownerReferences") or () if each.get("controller")}
    return claim in pod.claims.values() and not pod.node_name and not pod.deleting and STATEFUL_SET.name in owners
