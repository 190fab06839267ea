"""
The former volumes of a claim: volumes that earlier claims of its name were bound to, and which of them was last.

A volume of a recreated namespace may belong to another tenant: it is never adopted automatically, and the claim waits.
A volume whose creation was interrupted, so that it was never bound, is no former volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.binding.facts import Facts
from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.node import Node
from provisioner.model.stateful_set import Ordinal
from provisioner.model.volume import Volume

UNREADABLE: Final = -1
"""The number of an ordinal whose label is invalid; it equals no existing one."""


@dataclass(frozen=True, slots=True)
class Former:
    """A former volume: its PersistentVolume, its manifest, or both."""

    volume: Volume | None
    manifest: Manifest | None

    @property
    def name(self) -> str:
        """The name that messages use."""
        return self.volume.name if self.volume else self.manifest.csi_name if self.manifest else ""

    @property
    def handle(self) -> str:
        """The volume handle."""
        return self.volume.handle if self.volume else self.manifest.handle if self.manifest else ""

    @property
    def is_assigned(self) -> bool:
        """Whether an admin assigned it to the claim's name, for an ordinal or not."""
        ref = self.volume.claim_ref if self.volume else None
        labels = self.manifest.holder if self.manifest else {}
        owner = ref.uid if ref else labels.get(names.HOLDER_CLAIM_UID)
        return owner in names.IMPORTED_UIDS

    @property
    def ordinal(self) -> Ordinal | None:
        """The ordinal that it belonged to; None for a claim of no ordinal."""
        annotations = self.volume.annotations if self.volume else {}
        labels = self.manifest.holder if self.manifest else {}
        stateful_set = annotations.get(names.STATEFUL_SET) or labels.get(names.HOLDER_STATEFUL_SET, "")
        template = annotations.get(names.TEMPLATE) or labels.get(names.HOLDER_TEMPLATE, "")
        number = annotations.get(names.ORDINAL) or labels.get(names.HOLDER_ORDINAL, "")
        if not stateful_set:
            return None
        return Ordinal(template, stateful_set, int(number) if number.isdecimal() else UNREADABLE)

    @property
    def attributes_class(self) -> str:
        """The VolumeAttributesClass in force; "" for none."""
        if self.volume is not None:
            return self.volume.attributes_class
        return self.manifest.holder.get(names.HOLDER_ATTRIBUTES_CLASS, "") if self.manifest else ""

    def reached_from(self, node: Node) -> bool:
        """Report whether the node can use it."""
        if self.volume is not None:
            return self.volume.reaches(node.labels)
        return node.has_pool(self.handle.partition(".")[0])

    @property
    def since(self) -> str:
        """
        When it was last assigned to a claim of this name; "" when that is unknown. Sorts by time.

        It has no final Z, which would sort after the decimal point of a fraction of a second.
        """
        return self.manifest.since.removesuffix("Z") if self.manifest else ""


def former_volumes(facts: Facts) -> Sequence[Former]:
    """Return every volume that a claim of this name had in the same namespace (by UID), sorted by name."""
    return _formers(facts, same_namespace=True)


def of_recreated_namespace(facts: Facts) -> Sequence[Former]:
    """
    Return every volume that a claim of this name had in an earlier namespace of this name, sorted by name.

    A volume without a recorded namespace UID is one of them, since its owner is unknown.
    """
    return _formers(facts, same_namespace=False)


def _formers(facts: Facts, *, same_namespace: bool) -> Sequence[Former]:
    """Return those of the same namespace (by UID), or else those of another namespace of that name in this cluster."""
    claim = facts.claim
    manifests = [each for each in facts.manifests if names.RELEASED not in each.holder and each.ready]
    former = [
        each for each in manifests if _of_claim(facts, each) and _is_of_this_namespace(facts, each) is same_namespace
    ]
    if not same_namespace and facts.cluster_uid:
        former = [each for each in former if each.holder.get(names.HOLDER_CLUSTER_UID) in {None, "", facts.cluster_uid}]
    # A volume recreated with the handle of one in the trash replaces it.
    by_handle = {each.handle: each for each in sorted(former, key=lambda each: not each.in_trash)}
    found = [
        Former(volume, by_handle.get(volume.handle))
        for volume in facts.volumes.naming(claim.namespace, claim.name)
        if volume.driver == names.DRIVER
        and volume.claim_ref is not None
        and volume.claim_ref.uid not in {"", claim.uid}
        and (volume.namespace_uid == facts.namespace_uid) is same_namespace
        and names.RELEASED not in volume.annotations
    ]
    found += [
        Former(None, manifest)
        for handle, manifest in by_handle.items()
        if not facts.volumes.has_handle(handle) and manifest.holder.get(names.HOLDER_CLAIM_UID) != claim.uid
    ]
    return sorted(found, key=lambda former: former.name)


def of_another_cluster(facts: Facts) -> Manifest | None:
    """
    Return a volume without a PersistentVolume that a claim of this name had in another cluster, or None.

    None also while the UID of this cluster is unknown.
    """
    own_clusters = frozenset({"", facts.cluster_uid})
    requested = (facts.claim.namespace, facts.claim.name)
    found = (
        each
        for each in facts.manifests
        if each.ready
        and each.holder.get(names.HOLDER_CLUSTER_UID, "") not in own_clusters
        and (each.holder.get(names.HOLDER_NAMESPACE), each.holder.get(names.HOLDER_CLAIM)) == requested
        and names.RELEASED not in each.holder
        and not facts.volumes.has_handle(each.handle)
    )
    return max(found, key=lambda each: each.since, default=None) if facts.cluster_uid else None


def _of_claim(facts: Facts, manifest: Manifest) -> bool:
    holder = manifest.holder
    owner = (holder.get(names.HOLDER_NAMESPACE), holder.get(names.HOLDER_CLAIM))
    return owner == (facts.claim.namespace, facts.claim.name)


def _is_of_this_namespace(facts: Facts, manifest: Manifest) -> bool:
    return manifest.holder.get(names.HOLDER_NAMESPACE_UID) == facts.namespace_uid


def last_former(formers: Sequence[Former]) -> Former | None:
    """Return the volume that an admin assigned, or else the last one; None when the order is unknown."""
    assigned = [each for each in formers if each.is_assigned]
    formers = assigned or formers
    if len(formers) == 1:
        return formers[0]
    last = max(formers, key=lambda former: former.since)
    known = [former.since for former in formers]
    return last if all(known) and known.count(last.since) == 1 else None


def changes_attributes(claim: Claim, former: Former) -> bool:
    """
    Report whether the former volume is modified to the requested VolumeAttributesClass before it is adopted.

    A claim that requests none changes nothing; `lifecycle.modify` decides whether it can be bound to the volume.
    """
    return claim.attributes_class not in {"", former.attributes_class}
