"""
Which existing volume fits a claim: upstream's rule, with a reason for each volume that does not.

Sources: k8s.io/component-helpers, storage/volume, FindMatchingVolume; kubernetes,
pkg/controller/volume/persistentvolume, index.go and pv_controller.go (checkVolumeSatisfyClaim). Where upstream's result
hangs on the order of a map, ours goes by name.
"""

from collections.abc import Iterable
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.model.claim import Claim
from provisioner.model.node import Node
from provisioner.model.volume import Volume

MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
"""The modes that upstream's index knows; others are dropped from a volume's key."""


def match(
    claim: Claim,
    volumes: Iterable[Volume],
    *,
    node: Node | None = None,
    excluded: frozenset[str] = frozenset(),
    delay_binding: bool = False,
) -> Volume | None:
    """
    The volume that the claim gets, or None.

    A volume reserved for the claim wins over all others; among the rest the smallest that is large enough. With a
    `node`, only volumes which that node reaches: a reserved one that it does not reach means None, whatever else fits.
    """
    reserved: Volume | None = None
    best: Volume | None = None
    for volume in volumes:
        failed = fails(claim, volume, node=node, excluded=excluded, delay_binding=delay_binding)
        if volume.belongs_to(claim):
            if failed in {"", "affinity"} and (reserved is None or volume.name < reserved.name):
                reserved = volume
        elif not failed and (best is None or (volume.capacity, volume.name) < (best.capacity, best.name)):
            best = volume
    if reserved is None:
        return best
    return reserved if node is None or reserved.reaches(node.labels) else None


def match_claim(claim: Claim, volumes: Iterable[Volume], *, delay_binding: bool = False) -> Volume | None:
    """
    The same as the persistentvolume controller asks it: without a node, by buckets of access modes.

    Buckets with fewer modes come first, so a larger volume with just the mode asked for beats a smaller one that can do
    more.
    """
    buckets: dict[frozenset[str], list[Volume]] = {}
    for volume in volumes:
        buckets.setdefault(frozenset(volume.modes) & frozenset(MODES), []).append(volume)
    wanted = frozenset(claim.modes)
    for key in sorted(buckets, key=lambda modes: (len(modes), sorted(map(MODES.index, modes)))):
        if wanted <= key and (found := match(claim, buckets[key], delay_binding=delay_binding)):
            return found
    return None


def rejection(
    claim: Claim,
    volume: Volume,
    *,
    node: Node | None = None,
    excluded: frozenset[str] = frozenset(),
    delay_binding: bool = False,
) -> Reason | None:
    """The first check that the volume fails, in upstream's order; None when it fits."""
    code = fails(claim, volume, node=node, excluded=excluded, delay_binding=delay_binding)
    if not code and node is None and not frozenset(claim.modes) <= frozenset(volume.modes):
        code = "access-modes"
    return reason(code, claim, volume, node=node) if code else None


def unsatisfied(claim: Claim, volume: Volume) -> Reason | None:
    """
    Why the volume that the claim itself names cannot be its own; None when it can.

    Neither selector, node affinity nor phase are looked at, as upstream does not.
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
    """The code of the first failing check; "" when there is none."""
    if volume.name in excluded:
        return "excluded"
    mine = volume.belongs_to(claim)
    if volume.claim_ref is not None and not mine:
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
    if mine:
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
    """The reason behind a check's code, with what was wanted and what the volume has."""
    ref = volume.claim_ref
    if code == "other-claim" and ref is not None and (ref.namespace, ref.name) == (claim.namespace, claim.name):
        return Reason("former-claim", volume.name, claim.uid, ref.uid)
    wanted, had = {
        "other-claim": (claim.key, str(ref)),
        "capacity": (str(claim.request), str(volume.capacity)),
        "volume-mode": (claim.volume_mode, volume.volume_mode),
        "attributes-class": (claim.attributes_class, volume.attributes_class),
        "phase": ("Available", volume.phase),
        "selector": (str(claim.selector), ""),
        "class": (claim.class_name, volume.class_name),
        "affinity": (node.name if node else "", ""),
        "access-modes": (", ".join(claim.modes), ", ".join(volume.modes)),
    }.get(code, ("", ""))
    return Reason(code, volume.name, wanted, had)
