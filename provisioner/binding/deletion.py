"""Explain what an object that is being deleted waits for, by its finalizers."""

from collections.abc import Sequence

from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.pod import Pod
from provisioner.model.volume import Volume


def claim_deletion(claim: Claim, pods: Sequence[Pod]) -> str:
    """
    Return that the claim is being deleted and what it waits for. `pods` are the pods that mount it.

    Source: kubernetes, pkg/controller/volume/pvcprotection (which pods count as using it).
    """
    waits = []
    if names.CLAIM_PROTECTION in claim.finalizers:
        using = [pod for pod in pods if not pod.ended]
        waits.append(f"{_named(using)} to end" if using else "its protection to be removed, since no pod uses it")
    return _deletion(waits, _others(claim.finalizers, names.CLAIM_PROTECTION))


def volume_deletion(volume: Volume, claim: Claim | None) -> str:
    """
    Return that the volume is being deleted and what it waits for. `claim` is the existing claim of its claimRef's name.

    Source: kubernetes, pkg/controller/volume/pvprotection (a volume is protected while it is bound).
    """
    ref, waits = volume.claim_ref, []
    if names.VOLUME_PROTECTION in volume.finalizers:
        if claim is not None and ref is not None and claim.uid == ref.uid:
            state = "which is being deleted, too" if claim.deleting else "which is bound to it"
            waits.append(f"claim {claim.key}, {state}, to be deleted")
        else:
            waits.append("its protection to be removed, since no claim is bound to it")
    if names.PROVISIONER_FINALIZER in volume.finalizers:
        waits.append("the driver to move its bytes to the trash")
    others = _others(volume.finalizers, names.VOLUME_PROTECTION, names.PROVISIONER_FINALIZER)
    retained = (
        ""
        if volume.driver != names.DRIVER or volume.reclaim_policy == "Delete"
        else "; its bytes stay in its pool (policy Retain)"
    )
    return f"{_deletion(waits, others)}{retained}"


def pod_deletion(pod: Pod, *, mounter: str, failure: str) -> str:
    """Return that the pod is being deleted and what it waits for; `mounter` unmounts its volumes."""
    waits = [f"{mounter} to unmount its volumes"] if pod.node_name and pod.claims else []
    failed = f"; the last failure: {failure}" if failure else ""
    return f"{_deletion(waits, pod.finalizers)}{failed}"


def _deletion(waits: Sequence[str], finalizers: Sequence[str]) -> str:
    found = [*waits, *(f"the owner of finalizer {each} to remove it" for each in finalizers)]
    return f"it is being deleted, and waits for {', and for '.join(found)}" if found else "it is being deleted"


def _others(finalizers: Sequence[str], *known: str) -> list[str]:
    return [each for each in finalizers if each not in known]


def _named(pods: Sequence[Pod]) -> str:
    return f"pod {', '.join(sorted(pod.name for pod in pods))}"
