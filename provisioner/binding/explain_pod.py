"""Explain whether a pod's volumes are mounted, and why not."""

from collections.abc import Sequence

from provisioner.binding.deletion import pod_deletion
from provisioner.binding.explain import TERMINATING, Explanation
from provisioner.model.node import Node
from provisioner.model.pod import Pod


def explain_pod(
    pod: Pod,
    *,
    claims: Sequence[Explanation],
    missing: Sequence[str] = (),
    refusal: str = "",
    failure: str = "",
    nodes: Sequence[Node] | None = None,
    in_cluster: bool = False,
) -> Explanation:
    """
    Explain whether the pod's volumes are mounted.

    :param missing: names of claims that do not exist
    :param refusal: why the claim of an ephemeral volume may not be used (`ClaimVolume.refusal`)
    :param failure: message of the last Event about mounting or unmounting for this pod, if that is a warning
    :param nodes: all nodes; None where they are unknown
    :param in_cluster: kubelet mounts, instead of the engine
    """
    subject = f"pod {pod.namespace}/{pod.name}"
    unbound = [claim for claim in claims if claim.state != "Bound"]
    changing = [claim for claim in claims if claim.state == "Bound" and not claim.healthy]
    reasons = tuple(reason for claim in (*unbound, *changing) for reason in claim.reasons)
    mounter = f"{'kubelet of ' if in_cluster else ''}node {pod.node_name}"
    if pod.deleting:
        message = pod_deletion(pod, mounter=mounter, failure=failure)
        if lost := _lost_node(pod, nodes):
            message += f"; {lost}"
        return Explanation(subject, TERMINATING, healthy=False, message=message, reasons=reasons)
    if pod.ended:
        return Explanation(subject, pod.phase, healthy=pod.phase == "Succeeded", message=f"it has ended ({pod.phase})")
    if refusal:
        message = refusal
    elif missing:
        message = f"claim {missing[0]} does not exist; create it, or the StatefulSet that creates it"
    elif waits := [claim for claim in unbound if not (pod.ready and claim.state == TERMINATING)]:
        message = f"it waits for {waits[0].subject}: {waits[0].message}"
    elif not pod.claims:
        message = "it mounts no claim, so it does not wait for Mooring"
    elif not pod.node_name:
        message = "its claims are bound, and it waits to be scheduled"
    elif lost := _lost_node(pod, nodes):
        message = f"its claims are bound; {lost}"
    elif pod.ready or pod.started:
        message = f"its {len(pod.claims)} volume(s) are mounted on node {pod.node_name}"
        message += "" if pod.ready else ", and its containers are not ready"
        message += "".join(f"; {claim.subject}: {claim.message}" for claim in (*unbound, *changing))
    elif failure:
        message = f"its claims are bound, and {mounter} failed to mount them, and retries: {failure}"
    else:
        message = f"its claims are bound, and {mounter} is mounting them"
    return Explanation(subject, pod.phase, pod.ready and not missing and not refusal, message, reasons)


def _lost_node(pod: Pod, nodes: Sequence[Node] | None) -> str:
    """Return why the pod's node mounts and unmounts nothing; "" when it does, or when that is unknown."""
    if not pod.node_name or nodes is None:
        return ""
    node = next((each for each in nodes if each.name == pod.node_name), None)
    if node is None:
        return f"its node {pod.node_name} does not exist; delete the pod, so that it is recreated on another node"
    return "" if node.ready else f"its node {pod.node_name} is not ready; start that node, or its engine"
