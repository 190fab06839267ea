"""
Does the claim have a former volume, and may it have it back?

A former volume that may not be taken leaves the claim waiting: it never falls through to an empty volume. A stranger's
volume (of a namespace of the same name made anew) is no former volume at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.binding.decision import Action, Decision, Reason, wait
from provisioner.binding.facts import Facts
from provisioner.model import names
from provisioner.model.inventory import Manifest
from provisioner.model.quantity import Quantity
from provisioner.model.volume import Volume


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
    def ordinal(self) -> tuple[str, str]:
        """(StatefulSet, ordinal) that it was held for; empty strings for a claim that was no ordinal."""
        notes = self.volume.annotations if self.volume else {}
        labels = self.manifest.holder if self.manifest else {}
        return (
            notes.get(names.STATEFUL_SET) or labels.get(names.HOLDER_STATEFUL_SET, ""),
            notes.get(names.ORDINAL) or labels.get(names.HOLDER_ORDINAL, ""),
        )

    @property
    def since(self) -> str:
        """When it was last given to a claim of this name, as far as it is known; sorts by time."""
        return self.manifest.since if self.manifest else ""


def adopt(facts: Facts) -> Decision | None:
    """Give the former volume back, wait for it, or None: the claim has none, or its class does not adopt."""
    storage_class = facts.storage_class
    if storage_class is None or storage_class.adopts == "Never":
        return None
    formers = former_volumes(facts)
    if not formers:
        return None
    if storage_class.reclaim_policy == "Delete":
        return wait("class-adopt-delete", wanted=storage_class.name, had=storage_class.adopts)
    if storage_class.adopts == "Ordinal" and _is_no_ordinal(facts):
        held = [former for former in formers if former.ordinal[0]]
        if not held:
            return None  # the class adopts ordinals, and neither the claim nor the volume ever was one
        name, number = held[0].ordinal
        return wait("former-ordinal", volume=held[0].name, wanted=name, had=f"{name}-{number}")
    former = _last_held(formers)
    if former is None:
        return wait("former-several", volume=formers[0].name, had=", ".join(each.name for each in formers))
    return _judge(facts, former)


def former_volumes(facts: Facts) -> Sequence[Former]:
    """Every volume that a claim of this name, in this very namespace, held before; in the order of their names."""
    claim = facts.claim
    by_handle = {manifest.handle: manifest for manifest in facts.manifests if _same_owner(facts, manifest)}
    known = {volume.handle for volume in facts.volumes if volume.driver == names.DRIVER}
    found = [
        Former(volume, by_handle.get(volume.handle))
        for volume in facts.volumes
        if volume.driver == names.DRIVER
        and volume.claim_ref is not None
        and (volume.claim_ref.namespace, volume.claim_ref.name) == (claim.namespace, claim.name)
        and volume.claim_ref.uid not in {"", claim.uid}
        and volume.annotations.get(names.NAMESPACE_UID) == facts.namespace_uid
    ]
    found += [
        Former(None, manifest)
        for handle, manifest in by_handle.items()
        if handle not in known and manifest.holder.get(names.HOLDER_CLAIM_UID) != claim.uid
    ]
    return sorted(found, key=lambda former: former.name)


def _same_owner(facts: Facts, manifest: Manifest) -> bool:
    holder = manifest.holder
    return (
        holder.get(names.HOLDER_NAMESPACE_UID) == facts.namespace_uid
        and holder.get(names.HOLDER_NAMESPACE) == facts.claim.namespace
        and holder.get(names.HOLDER_CLAIM) == facts.claim.name
    )


def _is_no_ordinal(facts: Facts) -> bool:
    stateful_set = facts.stateful_set
    return stateful_set is None or stateful_set.deleting


def _last_held(formers: Sequence[Former]) -> Former | None:
    """The one held last; None when that cannot be told."""
    if len(formers) == 1:
        return formers[0]
    last = max(formers, key=lambda former: former.since)
    return last if last.since and [each.since for each in formers].count(last.since) == 1 else None


def _judge(facts: Facts, former: Former) -> Decision:
    """All checks on the one former volume; the first that fails is the reason to wait."""
    failed = _fails(facts, former)
    if failed is not None:
        return Decision(Action.WAIT, (failed,), volume=former.volume.name if former.volume else "")
    if former.volume is not None:
        return Decision(Action.ADOPT, volume=former.volume.name, handle=former.handle)
    in_trash = former.manifest is not None and former.manifest.in_trash
    return Decision(Action.UNDELETE if in_trash else Action.REBUILD, volume=former.name, handle=former.handle)


def _fails(facts: Facts, former: Former) -> Reason | None:
    claim, volume, manifest = facts.claim, former.volume, former.manifest
    if volume is not None and volume.deleting:
        return Reason("former-deleting", former.name)
    if volume is not None and volume.reclaim_policy != "Retain":
        return Reason("former-policy", former.name, "Retain", volume.reclaim_policy)
    capacity = volume.capacity if volume else Quantity.of_bytes(manifest.capacity_bytes if manifest else 0)
    if capacity < claim.request:
        return Reason("former-small", former.name, str(claim.request), str(capacity))
    if volume is not None and not frozenset(claim.modes) <= frozenset(volume.modes):
        return Reason("former-modes", former.name, ", ".join(claim.modes), ", ".join(volume.modes))
    is_block = (volume.volume_mode == "Block") if volume else manifest is not None and manifest.access_type == "block"
    if is_block != (claim.volume_mode == "Block"):
        return Reason("former-volume-mode", former.name, claim.volume_mode, "Block" if is_block else "Filesystem")
    if claim.selector is not None and not claim.selector.matches(volume.labels if volume else {}):
        return Reason("former-selector", former.name, str(claim.selector))
    pool = former.handle.partition(".")[0]
    if not any(node.has_pool(pool) for node in facts.nodes):
        return Reason("former-pool-away", former.name, pool)
    return None
