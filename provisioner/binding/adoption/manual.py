"""Decisions of an admin about which former volume a claim gets; what cannot succeed is refused."""

import dataclasses
from collections.abc import Iterable, Sequence

from provisioner.binding.decision import Reason
from provisioner.binding.lifecycle.modify import loses_attributes
from provisioner.binding.matching.match import rejection
from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume


def candidates(claim: Claim, volumes: Iterable[Volume]) -> Sequence[Volume]:
    """
    Return all volumes that claims of this name had, sorted by name, whether they can be adopted or not.

    They include volumes of an earlier namespace of the same name, and released ones.
    """
    found = (
        volume
        for volume in volumes
        if volume.driver == names.DRIVER
        and volume.claim_ref is not None
        and (volume.claim_ref.namespace, volume.claim_ref.name) == (claim.namespace, claim.name)
        and volume.claim_ref.uid not in {"", claim.uid}
    )
    return sorted(found, key=lambda volume: volume.name)


def cannot_take(claim: Claim, volume: Volume, *, storage_class: StorageClass | None) -> Reason | None:
    """
    Return why the claim could not be bound to the volume, even if its claimRef named the claim; None when it could.

    `storage_class` is the claim's class, if it exists. A volume that is smaller than the request can be bound where
    the class allows expansion.
    """
    if claim.volume_name:
        return Reason("bound", actual=claim.volume_name)
    if claim.deleting:
        return Reason("deleting")
    if volume.driver != names.DRIVER:
        return Reason("foreign-driver", volume.name, actual=volume.driver)
    ref = volume.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.namespace, claim.name):
        return Reason("other-claim", volume.name, claim.key, str(ref) if ref else "(none)")
    if volume.reclaim_policy != "Retain":
        return Reason("former-policy", volume.name, "Retain", volume.reclaim_policy)
    if not frozenset(claim.modes) <= frozenset(volume.modes):
        return Reason("former-modes", volume.name, ", ".join(claim.modes), ", ".join(volume.modes))
    if loses_attributes(claim, volume):
        return Reason("former-attributes-class", volume.name, actual=volume.attributes_class)
    expands = storage_class is not None and storage_class.is_managed and storage_class.allows_expansion
    if volume.capacity < claim.request and not expands:
        return Reason("former-too-small", volume.name, str(claim.request), str(volume.capacity))
    # The controller expands or modifies the volume before it adopts it: see `is_changed_first`.
    assigned = dataclasses.replace(
        volume,
        claim_ref=dataclasses.replace(ref, uid=claim.uid),
        attributes_class=claim.attributes_class,
        capacity=max(volume.capacity, claim.request),
    )
    failed = rejection(claim, assigned)
    if failed is None and is_changed_first(claim, volume):
        return _controller_refuses(claim, volume, storage_class)
    return failed


def is_changed_first(claim: Claim, volume: Volume) -> bool:
    """Report whether the controller has to expand or modify the volume before the binder binds it."""
    return claim.attributes_class != volume.attributes_class or volume.capacity < claim.request


def _controller_refuses(claim: Claim, volume: Volume, storage_class: StorageClass | None) -> Reason | None:
    """Return why the controller would not adopt a volume that is assigned to the claim's name; see `evaluate`."""
    if claim.forgets:
        return Reason("former-forgotten", volume.name, claim.name)
    if storage_class is None:
        return Reason("class-unknown", requested=claim.class_name) if claim.class_name else Reason("no-class")
    if not storage_class.is_managed:
        return Reason("class-foreign", requested=storage_class.name, actual=storage_class.provisioner)
    if storage_class.adopts != "Never" and storage_class.reclaim_policy == "Delete":
        return Reason("class-adopt-delete", requested=storage_class.name, actual=storage_class.adopts)
    if volume.class_name != claim.class_name:
        return Reason("former-class", volume.name, claim.class_name, volume.class_name)
    if claim.selector is not None and not claim.selector.matches(volume.labels):
        return Reason("former-selector", volume.name, str(claim.selector))
    return None


def cannot_import(
    key: str, claim: Claim | None, storage_class: StorageClass | None, volumes: Iterable[Volume], *, class_name: str
) -> Reason | None:
    """
    Return why data on a disk cannot be imported for a claim; None when it can.

    :param key: of the claim, ``namespace/name``
    :param claim: None while it does not exist
    :param storage_class: the class named `class_name`, if it exists
    """
    if claim is not None and claim.volume_name:
        return Reason("bound", actual=claim.volume_name)
    if claim is not None and claim.deleting:
        return Reason("deleting")
    if not class_name:
        return Reason("import-no-class", requested=key)
    if storage_class is None:
        return Reason("class-unknown", requested=class_name)
    if not storage_class.is_managed:
        return Reason("class-foreign", requested=class_name, actual=storage_class.provisioner)
    if claim is None and storage_class.adopts == "Never":
        return Reason("import-class-never-adopts", requested=class_name)
    for volume in volumes:
        ref = volume.claim_ref
        if ref is not None and f"{ref.namespace}/{ref.name}" == key and names.RELEASED not in volume.annotations:
            return Reason("import-claim-bound", requested=key, actual=volume.name)
    return None


def cannot_release(volume: Volume, owner: Claim | None) -> Reason | None:
    """Return why the volume cannot be released, if so. `owner` is the existing claim of its claimRef's name."""
    if volume.driver != names.DRIVER:
        return Reason("foreign-driver", volume.name, actual=volume.driver)
    if volume.claim_ref is None:
        return Reason("unowned", volume.name)
    if owner is not None and owner.uid == volume.claim_ref.uid:
        return Reason("in-use", volume.name, actual=owner.key)
    return None
