"""The writes to a volume that both parts of the binder share; each is skipped where it would change nothing."""

from provisioner.actions.persistent_volume import claim_ref
from provisioner.kube.transport import Transport
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER


async def reserve(transport: Transport, volume: Json, claim: Json, *, reserved: bool) -> Json:
    """
    Write the claimRef with the claim's UID (W1), and return the volume.

    :param reserved: the user reserved the volume for the claim; otherwise it is annotated as bound by the controller
    """
    ref = volume["spec"].get("claimRef") or {}
    if ref.get("uid") == claim["metadata"]["uid"]:
        return volume
    patch: Json = {
        "metadata": {"resourceVersion": volume["metadata"]["resourceVersion"]},
        "spec": {"claimRef": claim_ref(claim)},
    }
    if not reserved:
        patch["metadata"]["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
    return await transport.patch(VOLUME, volume["metadata"]["name"], patch)


async def set_phase(transport: Transport, volume: Json, phase: str) -> None:
    """Write the phase (W2), unless the volume has it already."""
    if volume.get("status", {}).get("phase") == phase:
        return
    metadata = volume["metadata"]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": {"phase": phase}}
    await transport.patch(VOLUME, metadata["name"], patch, subresource="status")
