"""Work queue keys of claims, and which objects wake which claim."""

from collections.abc import Iterable

from provisioner.kube.control import Key
from provisioner.model.kinds import Json, Object


def claim_key(claim: Object) -> Key:
    """The work queue's key of a claim."""
    return claim["metadata"]["namespace"], claim["metadata"]["name"]


def claim_of_volume(volume: Json) -> Iterable[Key]:
    """The claim that a volume names, if it names one; whether that still exists is for the reconciler to see."""
    ref = volume["spec"].get("claimRef") or {}
    if ref.get("name"):
        yield ref["namespace"], ref["name"]
