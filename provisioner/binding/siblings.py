"""Claims of one pod have to be reached from one node: a new volume is not made where a sibling's cannot be reached."""

from provisioner.binding.decision import Decision, wait
from provisioner.binding.facts import Facts, Sibling
from provisioner.model.names import RELEASED
from provisioner.model.node import Node
from provisioner.model.volume import Volume


def apart(facts: Facts, node: Node) -> Decision | None:
    """Wait when a volume on `node` could not be mounted together with a sibling's, which exists already; else None."""
    for sibling in facts.siblings:
        for volume in facts.volumes:
            if not _has_or_gets(sibling, volume, facts.namespace_uid) or volume.reaches(node.labels):
                continue
            code = "sibling-elsewhere" if any(volume.reaches(each.labels) for each in facts.nodes) else "sibling-away"
            return wait(code, wanted=node.name, had=f"{volume.name} of claim {sibling.claim.name}")
    return None


def _has_or_gets(sibling: Sibling, volume: Volume, namespace_uid: str) -> bool:
    """Whether the volume is the sibling's, or its former one that it is about to adopt."""
    if volume.claim_ref is None or volume.deleting:
        return False
    if sibling.claim.volume_name:
        return volume.name == sibling.claim.volume_name
    if volume.belongs_to(sibling.claim):
        return True
    if sibling.claim.forgets or RELEASED in volume.annotations:
        return False
    same_name = (volume.claim_ref.namespace, volume.claim_ref.name) == (sibling.claim.namespace, sibling.claim.name)
    return sibling.adopts and same_name and volume.namespace_uid == namespace_uid and volume.reclaim_policy == "Retain"
