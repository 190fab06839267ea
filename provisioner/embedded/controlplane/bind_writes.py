"""The writes on a volume that both sides of the binder share, each left out where it is right already."""

from provisioner.actions.persistent_volume import claim_ref
from provisioner.kube.transport import Transport
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER


async def reserve(transport: Transport, volume: Json, claim: Json, *, reserved: bool) -> Json:
    """W1: the volume names the claim, UID included; by us only where the user had not reserved it."""
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
    """W2, or any other phase; nothing when it is right already."""
    if volume.get("status", {}).get("phase") == phase:
        return
    metadata = volume["metadata"]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": {"phase": phase}}
    await transport.patch(VOLUME, metadata["name"], patch, subresource="status")
