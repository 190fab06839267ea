"""Messages about a volume whose node is lost: what happened, and what to do next."""

from provisioner.binding.decision import Reason
from provisioner.binding.lifecycle.node_loss import Loss, last_node
from provisioner.model.names import LOST_SINCE
from provisioner.model.volume import Volume


def recorded_loss(volume: Volume | None) -> tuple[Reason, ...]:
    """Return that the volume's node is lost, for `explain`; nothing while that is not recorded."""
    since = volume.annotations.get(LOST_SINCE) if volume else None
    return (Reason("node-lost", requested=last_node(volume), actual=since),) if volume and since else ()


def lost(seen: Loss, *, grace: float) -> str:
    """Return that the node is lost, and what will be done."""
    return _about(seen, f"if it does not return within {grace:g} s, the claim is deleted")


def claim_deleted(seen: Loss) -> str:
    """Return that the claim was deleted."""
    return _about(seen, "the claim was deleted, and its StatefulSet recreates it")


def left(seen: Loss) -> str:
    """Return why deleting the claim would not help."""
    why = f"its pod also needs claim {seen.blocked_by}, which waits" if seen.blocked_by else "no StatefulSet has it now"
    return _about(seen, f"the claim is not deleted, because {why}; {_by_hand(seen)}")


def forbidden(seen: Loss) -> str:
    """Return that the controller has no permission to delete the claim."""
    grant = "install deploy/components/release-on-node-loss (Helm: releaseOnNodeLoss=true)"
    return _about(seen, f"the controller has no permission to delete claims; {grant}, or {_by_hand(seen)}")


def waits_for_claim(namespace: str, *, pod: str, claim: str) -> str:
    """Return the message for a pod that the controller may not delete."""
    again = f"after `kubectl -n {namespace} delete pod {pod}` its StatefulSet recreates both"
    return f"it waits for claim {claim}, which was deleted; {again}"


def released(volume: Volume) -> str:
    """Return the message for the retained volume."""
    ref = volume.claim_ref
    assert ref is not None  # noqa: S101 - only a volume with a claimRef is released
    return (
        f"its claim was deleted while node {last_node(volume)} was lost, and claims named {ref} do not adopt it; "
        f"its data is retained, and `mooring adopt {ref.name} -n {ref.namespace} --volume {volume.name}` assigns it"
    )


def _about(seen: Loss, what: str) -> str:
    volume = seen.volume
    deleted = f"node {last_node(volume)}, which has volume {volume.name}, was deleted from the cluster"
    policy = f"StorageClass {volume.class_name}: onNodeLoss: Release"
    return f"{deleted}, and no other node has its disk: {what} ({policy}). The volume is retained"


def _by_hand(seen: Loss) -> str:
    ref = seen.volume.claim_ref
    assert ref is not None  # noqa: S101 - only the claim of a volume with a claimRef is deleted
    return (
        f"delete it with `kubectl -n {ref.namespace} delete pvc {ref.name} --wait=false`, then delete the pod that "
        "waits for it"
    )
