"""
Evaluate whether the claim has a former volume and can adopt it. Its siblings are evaluated in `siblings`.

A claim whose former volume cannot be adopted waits; it never gets an empty volume instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.binding.adoption.former import (
    Former,
    changes_attributes,
    former_volumes,
    last_former,
    of_another_cluster,
    of_recreated_namespace,
)
from provisioner.binding.decision import Action, Decision, Reason, wait
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.modify import class_problem as attributes_problem
from provisioner.binding.lifecycle.modify import loses_attributes
from provisioner.binding.matching.index import bucket_key
from provisioner.model import names
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import DEFAULT_BACKEND, StorageClass


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The decision for the claim, and the former volume that it adopts; None where it waits."""

    decision: Decision
    former: Former | None = None

    @property
    def waits(self) -> bool:
        """Whether the claim waits."""
        return self.former is None


def evaluate(facts: Facts) -> Evaluation | None:
    """Adopt the former volume or wait for it; None when the claim has none, or its class does not adopt."""
    storage_class = facts.storage_class
    if storage_class is None or facts.claim.forgets:
        return None
    if storage_class.adopts == "Never":
        return _assigned(facts)
    formers = former_volumes(facts)
    if not formers:
        return _of_recreated_namespace(facts, storage_class) or _of_another_cluster(
            facts, ordinals_only=storage_class.adopts == "Ordinal"
        )
    if storage_class.reclaim_policy == "Delete":
        return Evaluation(wait("class-adopt-delete", requested=storage_class.name, actual=storage_class.adopts))
    if storage_class.adopts == "Ordinal" and not facts.ordinals and not any(each.is_assigned for each in formers):
        for each in formers:
            if owner := each.ordinal:
                return Evaluation(
                    wait("former-ordinal", volume=each.name, requested=owner.stateful_set, actual=str(owner))
                )
        return None  # the class adopts ordinals, and neither the claim nor the volume belongs to one
    return _last(facts, formers)


def _assigned(facts: Facts) -> Evaluation | None:
    """Adopt the volume that an admin assigned to the claim's name, also in a class with adopt: Never."""
    formers = [each for each in former_volumes(facts) if each.is_assigned and each.volume is not None]
    return _last(facts, formers) if formers else None


def _last(facts: Facts, formers: Sequence[Former]) -> Evaluation:
    former = last_former(formers)
    if former is None:
        return Evaluation(wait("former-several", volume=formers[0].name, actual=_names(formers)))
    return _checked(facts, former)


def passed_over(facts: Facts) -> Reason | None:
    """Return why the claim gets a new volume although one of an earlier namespace had one; None when it does not."""
    storage_class = facts.storage_class
    if storage_class is None or not storage_class.fresh_in_recreated_namespace or facts.claim.forgets:
        return None
    found = () if former_volumes(facts) else _recreated(facts, storage_class)
    return Reason("fresh-namespace", requested=storage_class.name, actual=_names(found)) if found else None


def _of_recreated_namespace(facts: Facts, storage_class: StorageClass) -> Evaluation | None:
    """Wait for an admin's decision: the namespace was recreated, and may belong to another tenant now."""
    found = _recreated(facts, storage_class)
    if not found or storage_class.fresh_in_recreated_namespace:
        return None
    first = next((each for each in found if each.volume is not None), found[0])
    if first.volume is not None:
        return Evaluation(wait("former-namespace", volume=first.name, requested=facts.claim.name, actual=_names(found)))
    return Evaluation(wait("former-namespace-object", volume=first.name, requested=first.name, actual=_names(found)))


def _recreated(facts: Facts, storage_class: StorageClass) -> Sequence[Former]:
    """Return the volumes of earlier namespaces that the class would adopt."""
    if storage_class.adopts == "Never":
        return ()
    found = of_recreated_namespace(facts)
    applies = (
        storage_class.adopts == "Claim" or facts.ordinals or any(each.ordinal or each.is_assigned for each in found)
    )
    return found if applies else ()


def _names(formers: Sequence[Former]) -> str:
    return ", ".join(each.name for each in formers)


def _of_another_cluster(facts: Facts, *, ordinals_only: bool) -> Evaluation | None:
    """Wait when the claim's former volume belongs to another cluster: an admin has to decide."""
    found = of_another_cluster(facts)
    if found is None or (ordinals_only and names.HOLDER_STATEFUL_SET not in found.holder):
        return None
    cluster = found.holder.get(names.HOLDER_CLUSTER_UID, "")
    return Evaluation(wait("former-cluster", volume=found.csi_name, requested=facts.claim.key, actual=cluster))


def _checked(facts: Facts, former: Former) -> Evaluation:
    """Check the former volume; the first check that fails is the reason to wait."""
    volume, manifest = former.volume, former.manifest
    failed = _fails(facts, former) or _not_preferred(facts, former)
    if failed is not None:
        return Evaluation(Decision(Action.WAIT, (failed,), volume=volume.name if volume else ""))
    modifies = changes_attributes(facts.claim, former)
    if volume is not None and volume.capacity < facts.claim.request:
        expanding = Reason(
            "former-expanding", former.name, facts.claim.request.readable(up=True), volume.capacity.readable()
        )
        return Evaluation(Decision(Action.EXPAND, (expanding,), volume=former.name, handle=former.handle), former)
    if volume is not None:
        action = Action.ADOPT
    else:
        action = Action.UNDELETE if manifest is not None and manifest.in_trash else Action.REBUILD
    return Evaluation(Decision(action, volume=former.name, handle=former.handle, modifies=modifies), former)


def _fails(facts: Facts, former: Former) -> Reason | None:
    claim, volume, manifest = facts.claim, former.volume, former.manifest
    if facts.ordinals and former.ordinal and former.ordinal not in facts.ordinals and not former.is_assigned:
        return Reason("former-other-ordinal", former.name, str(facts.ordinals[0]), str(former.ordinal))
    if volume is not None and volume.deleting:
        return Reason("former-deleting", former.name)
    if volume is not None and volume.reclaim_policy != "Retain":
        return Reason("former-policy", former.name, "Retain", volume.reclaim_policy)
    capacity = volume.capacity if volume else Quantity.of_bytes(manifest.capacity_bytes if manifest else 0)
    expands = facts.storage_class is not None and facts.storage_class.allows_expansion
    if capacity < claim.request and not expands:
        return Reason("former-too-small", former.name, claim.request.readable(up=True), capacity.readable())
    if volume is not None and not frozenset(claim.modes) <= frozenset(volume.modes):
        return Reason("former-modes", former.name, ", ".join(claim.modes), ", ".join(volume.modes))
    is_block = (volume.volume_mode == "Block") if volume else manifest is not None and manifest.access_type == "block"
    if is_block != (claim.volume_mode == "Block"):
        return Reason("former-volume-mode", former.name, claim.volume_mode, "Block" if is_block else "Filesystem")
    if failed := _other_class(facts, former):
        return failed
    if volume is not None and loses_attributes(claim, volume):
        return Reason("former-attributes-class", former.name, actual=volume.attributes_class)
    if changes_attributes(claim, former) and (
        problem := attributes_problem(claim.attributes_class, facts.attributes_class)
    ):
        return problem
    if claim.selector is not None and not claim.selector.matches(volume.labels if volume else {}):
        return Reason("former-selector", former.name, str(claim.selector))
    pool = former.handle.partition(".")[0]
    if not any(node.has_pool(pool) for node in facts.nodes):
        return Reason("former-pool-unavailable", former.name, pool)
    return None


def _other_class(facts: Facts, former: Former) -> Reason | None:
    """Compare the class of a PersistentVolume, or the backend of a volume without one, with the claim's class."""
    claim, volume, manifest = facts.claim, former.volume, former.manifest
    if volume is not None and volume.class_name != claim.class_name:
        return Reason("former-class", former.name, claim.class_name, volume.class_name)
    parameters = facts.storage_class.parameters if facts.storage_class else {}
    backend = parameters.get("backend", DEFAULT_BACKEND)
    if volume is None and manifest is not None and manifest.backend not in {"", backend}:
        return Reason("former-backend", former.name, backend, manifest.backend)
    return None


def _not_preferred(facts: Facts, former: Former) -> Reason | None:
    """
    Return the volume that the binder would prefer to this one although its claimRef names the claim.

    A volume with fewer access modes is preferred to a reserved one; with as many modes either may be chosen. Source:
    kubernetes, pkg/controller/volume/persistentvolume, index.go (findBestMatchForClaim).
    """
    if former.volume is None:
        return None
    modes = bucket_key(former.volume)
    for others, preferred in facts.volumes.buckets(facts.claim, delay=facts.waits_for_consumer):
        if others != modes and len(others) <= len(modes):
            return Reason("former-not-preferred", former.name, ", ".join(former.volume.modes), preferred.name)
    return None
