"""The choice of a volume as the plain loop that upstream describes, with which the index is compared."""

from collections.abc import Callable, Iterable

from provisioner.binding.matching.match import MODES
from provisioner.model.claim import Claim
from provisioner.model.node import Node
from provisioner.model.volume import Volume


def match(
    requested: Claim,
    volumes: Iterable[Volume],
    where: Node | None = None,
    *,
    excluded: frozenset[str] = frozenset(),
    waits: bool = False,
) -> Volume | None:
    """Return the smallest volume that passes all checks, in the order of names; the first of equals is chosen."""
    best = None
    for each in sorted(volumes, key=lambda one: one.name):
        names_claim = each.belongs_to(requested)
        skips: list[Callable[[], bool]] = [
            lambda e=each: e.name in excluded,  # type: ignore[misc]
            lambda e=each, m=names_claim: e.claim_ref is not None and not m,  # type: ignore[misc]
            lambda e=each: e.capacity < requested.request,  # type: ignore[misc]
            lambda e=each: e.volume_mode != requested.volume_mode or e.attributes_class != requested.attributes_class,  # type: ignore[misc]
            lambda e=each: e.deleting,  # type: ignore[misc]
        ]
        if any(skip() for skip in skips):
            continue
        reaches = where is None or each.reaches(where.labels)
        if names_claim:
            return each if reaches else None
        if (
            (where is None and waits)
            or each.phase != "Available"
            or not reaches
            or each.class_name != requested.class_name
        ):
            continue
        if requested.selector is not None and not requested.selector.matches(each.labels):
            continue
        if where is not None and not set(requested.modes) <= set(each.modes):
            continue
        if best is None or each.capacity < best.capacity:
            best = each
    return best


def match_claim(requested: Claim, volumes: Iterable[Volume], *, waits: bool = False) -> Volume | None:
    """Return the match of the first bucket of access modes that has one; buckets with fewer modes come first."""
    volumes = list(volumes)
    keys = sorted(
        {tuple(mode for mode in MODES if mode in each.modes) for each in volumes},
        key=lambda key: (len(key), [MODES.index(m) for m in key]),
    )
    for key in keys:
        if set(requested.modes) <= set(key):
            bucket = [each for each in volumes if set(each.modes) & set(MODES) == set(key)]
            if found := match(requested, bucket, waits=waits):
                return found
    return None
