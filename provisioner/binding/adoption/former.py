"""
The volumes that a claim of this name held before, and which of them was last.

One of a namespace of the same name that was deleted and recreated may be another tenant's: it is never returned by
itself, and never passed over in silence. One whose making was interrupted before anybody had it is no former volume.
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
"""Stands for an ordinal of which only the set was noted: it equals none that exists."""


@dataclass(frozen=True, slots=True)
class Former:
    """A volume that a claim of this name held: its PersistentVolume, its manifest, or both."""

    volume: Volume | None
    manifest: Manifest | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.volume.name if self.volume else self.manifest.csi_name if self.manifest else ""

    @property
    def handle(self) -> str:
        """The volume handle."""
        return self.volume.handle if self.volume else self.manifest.handle if self.manifest else ""

    @property
    def is_given(self) -> bool:
        """Whether an admin gave it to the claim of this name, be it an ordinal or not."""
        ref = self.volume.claim_ref if self.volume else None
        labels = self.manifest.holder if self.manifest else {}
        held_by = ref.uid if ref else labels.get(names.HOLDER_CLAIM_UID)
        return held_by in names.IMPORTED_UIDS

    @property
    def ordinal(self) -> Ordinal | None:
        """What it was held for; None for a claim that was no ordinal."""
        notes = self.volume.annotations if self.volume else {}
        labels = self.manifest.holder if self.manifest else {}
        stateful_set = notes.get(names.STATEFUL_SET) or labels.get(names.HOLDER_STATEFUL_SET, "")
        template = notes.get(names.TEMPLATE) or labels.get(names.HOLDER_TEMPLATE, "")
        number = notes.get(names.ORDINAL) or labels.get(names.HOLDER_ORDINAL, "")
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
        """Whether the node can use it."""
        if self.volume is not None:
            return self.volume.reaches(node.labels)
        return node.has_pool(self.handle.partition(".")[0])

    @property
    def since(self) -> str:
        """
        When it was last given to a claim of this name; "" when that is not known. Sorts by time.

        Without the final Z, which sorts after the point before a fraction of a second.
        """
        return self.manifest.since.removesuffix("Z") if self.manifest else ""


def former_volumes(facts: Facts) -> Sequence[Former]:
    """Every volume that a claim of this name, in this very namespace, held before; in the order of their names."""
    return _held(facts, here=True)


def of_recreated_namespace(facts: Facts) -> Sequence[Former]:
    """
    Every volume that a claim of this name held in an earlier namespace of this name, in the order of their names.

    One of which the namespace's UID was never recorded counts as such: whose it is cannot be told.
    """
    return _held(facts, here=False)


def _held(facts: Facts, *, here: bool) -> Sequence[Former]:
    """`here`: in this very namespace, by its UID; else in another one of the same name, in this cluster."""
    claim = facts.claim
    manifests = [each for each in facts.manifests if names.RELEASED not in each.holder and each.ready]
    held = [each for each in manifests if _of_claim(facts, each) and _held_here(facts, each) is here]
    if not here and facts.cluster_uid:
        held = [each for each in held if each.holder.get(names.HOLDER_CLUSTER_UID) in {None, "", facts.cluster_uid}]
    # A volume made anew under the handle of one in the trash goes before that.
    by_handle = {each.handle: each for each in sorted(held, key=lambda each: not each.in_trash)}
    found = [
        Former(volume, by_handle.get(volume.handle))
        for volume in facts.volumes.naming(claim.namespace, claim.name)
        if volume.driver == names.DRIVER
        and volume.claim_ref is not None
        and volume.claim_ref.uid not in {"", claim.uid}
        and (volume.namespace_uid == facts.namespace_uid) is here
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
    A volume without an object that a claim of this name held in another cluster: its API server, or its disk, moved.

    None also while it is not known which cluster this is.
    """
    ours = frozenset({"", facts.cluster_uid})
    requested = (facts.claim.namespace, facts.claim.name)
    found = (
        each
        for each in facts.manifests
        if each.ready
        and each.holder.get(names.HOLDER_CLUSTER_UID, "") not in ours
        and (each.holder.get(names.HOLDER_NAMESPACE), each.holder.get(names.HOLDER_CLAIM)) == requested
        and names.RELEASED not in each.holder
        and not facts.volumes.has_handle(each.handle)
    )
    return max(found, key=lambda each: each.since, default=None) if facts.cluster_uid else None


def _of_claim(facts: Facts, manifest: Manifest) -> bool:
    holder = manifest.holder
    held_by = (holder.get(names.HOLDER_NAMESPACE), holder.get(names.HOLDER_CLAIM))
    return held_by == (facts.claim.namespace, facts.claim.name)


def _held_here(facts: Facts, manifest: Manifest) -> bool:
    return manifest.holder.get(names.HOLDER_NAMESPACE_UID) == facts.namespace_uid


def last_held(formers: Sequence[Former]) -> Former | None:
    """The one that an admin gave to the claim, or else held last; None when that cannot be told, for any of them."""
    given = [each for each in formers if each.is_given]
    formers = given or formers
    if len(formers) == 1:
        return formers[0]
    last = max(formers, key=lambda former: former.since)
    known = [former.since for former in formers]
    return last if all(known) and known.count(last.since) == 1 else None


def changes_attributes(claim: Claim, former: Former) -> bool:
    """
    Whether the former volume is to be given the attributes that the claim asks for, before it comes back.

    A claim that asks for none changes nothing; whether it can have the volume says `lifecycle.modify`.
    """
    return claim.attributes_class not in {"", former.attributes_class}
