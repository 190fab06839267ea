"""Work queue keys of claims, which objects wake which claim, and which volumes are in which pool."""

from collections.abc import Iterable

from provisioner.kube.control import Key
from provisioner.model.kinds import Json, Object
from provisioner.model.names import BIND_COMPLETED, CLASS_BETA, FORGET, POOL_LABEL_PREFIX

OF_POOL = "pool"
"""Index of volumes, by `pools_of_volume`."""


def claim_key(claim: Object) -> Key:
    """The work queue's key of a claim."""
    return claim["metadata"]["namespace"], claim["metadata"]["name"]


def claim_of_volume(volume: Json) -> Iterable[Key]:
    """The claim that a volume names, if it names one; whether that still exists is for the reconciler to see."""
    ref = volume["spec"].get("claimRef") or {}
    if ref.get("name"):
        yield ref["namespace"], ref["name"]


def pools_of_volume(volume: Json) -> Iterable[str]:
    """UUID of the pool that has it. Raises KeyError for a volume without a handle."""
    yield volume["spec"]["csi"]["volumeHandle"].partition(".")[0]


def pools_of_node(node: Json) -> Iterable[str]:
    """UUIDs of the pools that it has, by its labels."""
    for label in node["metadata"].get("labels") or {}:
        if label.startswith(POOL_LABEL_PREFIX):
            yield label.removeprefix(POOL_LABEL_PREFIX)


def concerns_siblings(claim: Object) -> object:
    """Return all of a claim that a decision about the other claims of its pod may look at."""
    metadata = claim["metadata"]
    annotations = metadata.get("annotations") or {}
    notes = tuple(annotations.get(each) for each in (FORGET, CLASS_BETA, BIND_COMPLETED))
    return metadata.get("uid"), metadata.get("deletionTimestamp"), notes, claim.get("spec")
