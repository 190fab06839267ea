"""What an admin decides: which former volume a claim gets. What can never go well is refused."""

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
    The volumes that a claim of this name held before, whatever stands against them, in the order of their names.

    Those of a namespace of the same name that was made anew, and those that were released, are among them.
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
    Why the claim could not be bound to the volume, even if its claimRef named the claim; None when it can.

    `storage_class` is the claim's, if it exists. A volume that is smaller than the request can be bound where that
    class expands it.
    """
    if claim.volume_name:
        return Reason("bound", actual=claim.volume_name)
    if claim.deleting:
        return Reason("deleting")
    if volume.driver != names.DRIVER:
        return Reason("foreign-driver", volume.name, actual=volume.driver)
    ref = volume.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.namespace, claim.name):
        return Reason("other-claim", volume.name, claim.key, str(ref) if ref else "nobody")
    if volume.reclaim_policy != "Retain":
        return Reason("former-policy", volume.name, "Retain", volume.reclaim_policy)
    if not frozenset(claim.modes) <= frozenset(volume.modes):
        return Reason("former-modes", volume.name, ", ".join(claim.modes), ", ".join(volume.modes))
    if loses_attributes(claim, volume):
        return Reason("former-attributes-class", volume.name, actual=volume.attributes_class)
    expands = storage_class is not None and storage_class.ours and storage_class.allows_expansion
    if volume.capacity < claim.request and not expands:
        return Reason("former-too-small", volume.name, str(claim.request), str(volume.capacity))
    # Size and VolumeAttributesClass are the controller's to change, which then adopts it: `changes_hands_later`.
    given = dataclasses.replace(
        volume,
        claim_ref=dataclasses.replace(ref, uid=claim.uid),
        attributes_class=claim.attributes_class,
        capacity=max(volume.capacity, claim.request),
    )
    failed = rejection(claim, given)
    if failed is None and changes_hands_later(claim, volume):
        return _controller_refuses(claim, volume, storage_class)
    return failed


def changes_hands_later(claim: Claim, volume: Volume) -> bool:
    """Whether the binder would not take the volume as it is, so that the controller has to change it first."""
    return claim.attributes_class != volume.attributes_class or volume.capacity < claim.request


def _controller_refuses(claim: Claim, volume: Volume, storage_class: StorageClass | None) -> Reason | None:
    """Why the controller would not adopt a volume that is marked as given to the claim's name, as `evaluate` says."""
    if claim.forgets:
        return Reason("former-forgotten", volume.name, claim.name)
    if storage_class is None:
        return Reason("class-unknown", requested=claim.class_name) if claim.class_name else Reason("no-class")
    if not storage_class.ours:
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
    Why no volume can be made for the claim of this key, ``namespace/name``, of what lies on a disk; None when it can.

    `claim` is None while there is none of that name; `storage_class` is the one of `class_name`, if that exists.
    """
    if claim is not None and claim.volume_name:
        return Reason("bound", actual=claim.volume_name)
    if claim is not None and claim.deleting:
        return Reason("deleting")
    if not class_name:
        return Reason("import-no-class", requested=key)
    if storage_class is None:
        return Reason("class-unknown", requested=class_name)
    if not storage_class.ours:
        return Reason("class-foreign", requested=class_name, actual=storage_class.provisioner)
    if claim is None and storage_class.adopts == "Never":
        return Reason("import-class-never-adopts", requested=class_name)
    for volume in volumes:
        ref = volume.claim_ref
        if ref is not None and f"{ref.namespace}/{ref.name}" == key and names.RELEASED not in volume.annotations:
            return Reason("import-claim-bound", requested=key, actual=volume.name)
    return None


def cannot_release(volume: Volume, holder: Claim | None) -> Reason | None:
    """Why the volume cannot be let go of, if so. `holder` is the living claim of the name in its claimRef."""
    if volume.driver != names.DRIVER:
        return Reason("foreign-driver", volume.name, actual=volume.driver)
    if volume.claim_ref is None:
        return Reason("unowned", volume.name)
    if holder is not None and holder.uid == volume.claim_ref.uid:
        return Reason("in-use", volume.name, actual=holder.key)
    return None
