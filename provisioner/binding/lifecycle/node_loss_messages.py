"""What people are told about a volume whose node is gone: what happened, and what to do next."""

from provisioner.binding.decision import Reason
from provisioner.binding.lifecycle.node_loss import Loss, last_node
from provisioner.model.names import LOST_SINCE
from provisioner.model.volume import Volume


def noted_loss(volume: Volume | None) -> tuple[Reason, ...]:
    """That the volume's node is gone, as one reads when asking about its claim; nothing while that is not noted."""
    since = volume.annotations.get(LOST_SINCE) if volume else None
    return (Reason("node-lost", requested=last_node(volume), actual=since),) if volume and since else ()


def lost(seen: Loss, *, grace: float) -> str:
    """It is gone, and this will follow."""
    return _about(seen, f"if it stays away for {grace:g} s, the claim is let go")


def let_go(seen: Loss) -> str:
    """The claim has been deleted."""
    return _about(seen, "the claim is let go, and its StatefulSet makes it anew")


def left(seen: Loss) -> str:
    """Letting the claim go would help nobody."""
    why = f"its pod needs claim {seen.held_by}, too, which waits" if seen.held_by else "no StatefulSet wants it now"
    return _about(seen, f"the claim is kept, as {why}; {_by_hand(seen)}")


def forbidden(seen: Loss) -> str:
    """The API server does not let the controller delete it."""
    way = "install deploy/components/release-on-node-loss (Helm: releaseOnNodeLoss=true)"
    return _about(seen, f"the controller may not delete claims; {way}, or {_by_hand(seen)}")


def waits_for_claim(namespace: str, *, pod: str, claim: str) -> str:
    """Of a pod that the controller may not delete."""
    again = f"`kubectl -n {namespace} delete pod {pod}` has its StatefulSet make both anew"
    return f"it waits for claim {claim}, which is gone; {again}"


def released(volume: Volume) -> str:
    """Of the volume that was kept."""
    ref = volume.claim_ref
    assert ref is not None  # noqa: S101 - nobody else is let go of a volume
    return (
        f"its claim went while node {last_node(volume)} was gone, and claims named {ref} no longer get it back; "
        f"its data is kept, and `mooring adopt {ref.name} -n {ref.namespace} --volume {volume.name}` gives it back"
    )


def _about(seen: Loss, what: str) -> str:
    volume = seen.volume
    gone = f"node {last_node(volume)}, which has volume {volume.name}, is gone from the cluster"
    said = f"StorageClass {volume.class_name}: onNodeLoss: Release"
    return f"{gone}, and no other has its disk: {what} ({said}). The volume is kept"


def _by_hand(seen: Loss) -> str:
    ref = seen.volume.claim_ref
    assert ref is not None  # noqa: S101 - as above
    return (
        f"let it go with `kubectl -n {ref.namespace} delete pvc {ref.name} --wait=false`, then delete the pod that "
        "waits for it"
    )
