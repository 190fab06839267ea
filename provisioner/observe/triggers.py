"""Work queue keys of claims, the objects that trigger a claim, and the volumes of a pool."""

from collections.abc import Iterable

from provisioner.kube.control import Key
from provisioner.model.kinds import Json, Object
from provisioner.model.names import BIND_COMPLETED, CLASS_BETA, FORGET, POOL_LABEL_PREFIX

OF_POOL = "pool"
"""The index of volumes by `pools_of_volume`."""


def no_keys(_: Json) -> Iterable[Key]:
    """Trigger nothing: the reconciler reads the kind from its cache, which is filled before the first key."""
    return ()


def claim_key(claim: Object) -> Key:
    """Return the work queue key of a claim."""
    return claim["metadata"]["namespace"], claim["metadata"]["name"]


def claim_of_volume(volume: Json) -> Iterable[Key]:
    """Return the key of the claim that a volume names, whether it exists or not."""
    ref = volume["spec"].get("claimRef") or {}
    if ref.get("name"):
        yield ref["namespace"], ref["name"]


def pools_of_volume(volume: Json) -> Iterable[str]:
    """Return the UUID of the volume's pool. Raises KeyError for a volume without a handle."""
    yield volume["spec"]["csi"]["volumeHandle"].partition(".")[0]


def pools_of_node(node: Json) -> Iterable[str]:
    """Return the UUIDs of the node's pools, by its labels."""
    for label in node["metadata"].get("labels") or {}:
        if label.startswith(POOL_LABEL_PREFIX):
            yield label.removeprefix(POOL_LABEL_PREFIX)


def concerns_siblings(claim: Object) -> object:
    """Return the fields of a claim that decisions about its siblings may depend on."""
    metadata = claim["metadata"]
    annotations = metadata.get("annotations") or {}
    notes = tuple(annotations.get(each) for each in (FORGET, CLASS_BETA, BIND_COMPLETED))
    return metadata.get("uid"), metadata.get("deletionTimestamp"), notes, claim.get("spec")
