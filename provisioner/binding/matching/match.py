"""
Check whether a volume fits a claim: upstream's checks, with the reason where it does not. `index` chooses among those.

Sources: k8s.io/component-helpers, storage/volume, FindMatchingVolume; kubernetes,
pkg/controller/volume/persistentvolume, index.go and pv_controller.go (checkVolumeSatisfyClaim).
"""

from typing import Final

from provisioner.binding.decision import Reason
from provisioner.model.claim import Claim
from provisioner.model.node import Node
from provisioner.model.volume import Volume

MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
"""The access modes of upstream's index, in its order."""


def rejection(
    claim: Claim,
    volume: Volume,
    *,
    node: Node | None = None,
    excluded: frozenset[str] = frozenset(),
    delay_binding: bool = False,
) -> Reason | None:
    """Return the first check that the volume fails, in upstream's order; None when it fits."""
    code = fails(claim, volume, node=node, excluded=excluded, delay_binding=delay_binding)
    if not code and node is None and not frozenset(claim.modes) <= frozenset(volume.modes):
        code = "access-modes"
    return reason(code, claim, volume, node=node) if code else None


def unsatisfied(claim: Claim, volume: Volume) -> Reason | None:
    """
    Return why the claim cannot be bound to the volume that it names; None when it can.

    Selector, node affinity and phase are not checked, as in upstream.
    """
    checks = (
        ("deleting", volume.deleting),
        ("capacity", volume.capacity.ceil_bytes < claim.request.ceil_bytes),
        ("class", volume.class_name != claim.class_name),
        ("attributes-class", volume.attributes_class != claim.attributes_class),
        ("volume-mode", volume.volume_mode != claim.volume_mode),
        ("access-modes", not frozenset(claim.modes) <= frozenset(volume.modes)),
    )
    return next((reason(code, claim, volume) for code, failed in checks if failed), None)


def fails(claim: Claim, volume: Volume, *, node: Node | None, excluded: frozenset[str], delay_binding: bool) -> str:
    """Return the code of the first failing check; "" when there is none."""
    if volume.name in excluded:
        return "taken-by-sibling"
    names_claim = volume.belongs_to(claim)
    if volume.claim_ref is not None and not names_claim:
        return "other-claim"
    if volume.capacity < claim.request:
        return "capacity"
    if volume.volume_mode != claim.volume_mode:
        return "volume-mode"
    if volume.attributes_class != claim.attributes_class:
        return "attributes-class"
    if volume.deleting:
        return "deleting"
    reached = node is None or volume.reaches(node.labels)
    if names_claim:
        return "" if reached else "affinity"
    if node is None and delay_binding:
        return "waits-for-consumer"
    if volume.phase != "Available":
        return "phase"
    if claim.selector is not None and not claim.selector.matches(volume.labels):
        return "selector"
    if volume.class_name != claim.class_name:
        return "class"
    if not reached:
        return "affinity"
    if node is not None and not frozenset(claim.modes) <= frozenset(volume.modes):
        return "access-modes"
    return ""


def reason(code: str, claim: Claim, volume: Volume, *, node: Node | None = None) -> Reason:
    """Return the reason for a check's code, with the requested and the actual value."""
    ref = volume.claim_ref
    if code == "other-claim" and ref is not None and (ref.namespace, ref.name) == (claim.namespace, claim.name):
        return Reason("former-claim", volume.name, claim.uid, ref.uid)
    requested, actual = {
        "other-claim": (claim.key, str(ref)),
        "capacity": (claim.request.readable(up=True), volume.capacity.readable()),
        "volume-mode": (claim.volume_mode, volume.volume_mode),
        "attributes-class": (claim.attributes_class, volume.attributes_class),
        "phase": ("Available", volume.phase),
        "selector": (str(claim.selector), ""),
        "class": (claim.class_name, volume.class_name),
        "affinity": (node.name if node else "", ""),
        "access-modes": (", ".join(claim.modes), ", ".join(volume.modes)),
    }.get(code, ("", ""))
    return Reason(code, volume.name, requested, actual)
