"""Random small scenarios of claims and volumes, and every set of pairs to which the binder may bind them."""

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import MODES
from provisioner.binding.matching.pv_controller import claim_step
from provisioner.model.claim import Claim
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import ClaimRef, Volume

Json = dict[str, Any]
Pairing = Mapping[str, str]
"""Claim → volume, of the claims that are bound."""

SIZES = ("1Gi", "1Gi", "1024Mi", "1073741824", "1500M", "2Gi")
ABSENT_DRIVER = "absent.example.com"
"""A driver that does not exist: no volume is ever mounted."""

FIRST = "!"
"""A name that sorts before every valid name of an object."""


@dataclass(frozen=True)
class Scenario:
    """A StorageClass with its volumes and claims, which no claim of another scenario matches."""

    name: str
    namespace: str
    volumes: tuple[Json, ...]
    claims: tuple[Json, ...]

    @property
    def storage_class(self) -> Json:
        """The StorageClass: Immediate binding, no provisioner."""
        return {
            "metadata": {"name": self.name, "labels": {"scenario": self.namespace}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "Immediate",
        }


def scenario(chance: random.Random, *, name: str, namespace: str) -> Scenario:
    """Return a scenario with all fields that matching uses, and few values of each, so that many are equal."""
    claims = [f"{name}-claim-{number}" for number in range(chance.randint(1, 4))]
    volumes = [f"{name}-volume-{number}" for number in range(chance.randint(1, 5))]
    built = [_volume(chance, each, name, namespace, claims) for each in volumes]
    return Scenario(
        name, namespace, tuple(built), tuple(_claim(chance, each, name, namespace, volumes) for each in claims)
    )


def _common(chance: random.Random, storage_class: str) -> Json:
    modes = list(MODES[:1])
    if chance.random() < 0.4:
        modes = chance.sample(MODES[:3], chance.choice([1, 2, 2, 3])) if chance.random() < 0.9 else [MODES[3]]
    spec: Json = {"accessModes": modes, "storageClassName": storage_class}
    spec["volumeMode"] = "Block" if chance.random() < 0.08 else "Filesystem"
    if chance.random() < 0.08:
        spec["volumeAttributesClassName"] = "gold"
    return spec


def _volume(chance: random.Random, name: str, storage_class: str, namespace: str, claims: Sequence[str]) -> Json:
    spec = _common(chance, storage_class) | {
        "capacity": {"storage": chance.choice(SIZES)},
        "persistentVolumeReclaimPolicy": "Retain",
        "csi": {"driver": ABSENT_DRIVER, "volumeHandle": name},
    }
    reserved = chance.random()
    if reserved < 0.2:
        spec["claimRef"] = {"namespace": namespace, "name": chance.choice([*claims, "no-such-claim"])}
    elif reserved < 0.25:
        spec["claimRef"] = {"namespace": namespace, "name": chance.choice(claims), "uid": "of-an-earlier-claim"}
    labels = {"scenario": namespace, "disk": chance.choice(["fast", "slow"])}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _claim(chance: random.Random, name: str, storage_class: str, namespace: str, volumes: Sequence[str]) -> Json:
    spec = _common(chance, storage_class) | {
        "resources": {"requests": {"storage": chance.choice(SIZES[: chance.choice([4, 6])])}}
    }
    if chance.random() < 0.7:
        spec["accessModes"] = spec["accessModes"][:1]
    if chance.random() < 0.2:
        spec["selector"] = {"matchLabels": {"disk": chance.choice(["fast", "slow"])}}
    if chance.random() < 0.1:
        spec["volumeName"] = chance.choice([*volumes, "no-such-volume"])
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"scenario": namespace}}, "spec": spec}


def allowed(claims: Sequence[Claim], volumes: Sequence[Volume]) -> set[frozenset[tuple[str, str]]]:
    """Return every final set of pairs: for all orders of the claims, and of volumes that are equal for upstream."""
    seen: dict[tuple[frozenset[str], tuple[tuple[str, str], ...]], None] = {}
    found: set[frozenset[tuple[str, str]]] = set()

    def bind(waiting: frozenset[str], pairs: tuple[tuple[str, str], ...], left: Mapping[str, Volume]) -> None:
        key = (waiting, tuple(sorted(pairs)))
        if key in seen:
            return
        seen[key] = None
        if not waiting:
            found.add(frozenset(pairs))
        for claim in claims:
            if claim.name not in waiting:
                continue
            options = set(_options(claim, tuple(left.values())))
            for taken in options:
                bind(waiting - {claim.name}, (*pairs, (claim.name, taken)), {**left, taken: _bound(left[taken], claim)})
            if not options:
                bind(waiting - {claim.name}, pairs, left)

    bind(frozenset(each.name for each in claims), (), {each.name: each for each in volumes})
    return found


def ours(claims: Sequence[Claim], volumes: Sequence[Volume], storage_class: StorageClass) -> frozenset[tuple[str, str]]:
    """Return the pairs of Mooring's binder, which takes claims and equal volumes in the order of their names."""
    left, pairs = {each.name: each for each in volumes}, set()
    for claim in sorted(claims, key=lambda each: each.name):
        step = claim_step(claim, volumes=Index(left.values()), storage_class=storage_class, default_class=None)
        if step.bind_to is not None:
            pairs.add((claim.name, step.bind_to.name))
            left[step.bind_to.name] = _bound(step.bind_to, claim)
    return frozenset(pairs)


def _options(claim: Claim, volumes: Sequence[Volume]) -> Iterator[str]:
    """Yield the volumes to which the claim may be bound now; several where upstream depends on the order of a map."""
    if claim.volume_name:
        step = claim_step(claim, volumes=Index(volumes), storage_class=None, default_class=None)
        if step.bind_to is not None:
            yield step.bind_to.name
        return
    buckets: dict[frozenset[str], list[Volume]] = {}
    for volume in volumes:
        if frozenset(claim.modes) <= frozenset(volume.modes):
            buckets.setdefault(frozenset(volume.modes), []).append(volume)
    for size in sorted({len(modes) for modes in buckets}):
        found = [name for modes, bucket in buckets.items() if len(modes) == size for name in _equal(claim, bucket)]
        if found:
            yield from found
            return


def _equal(claim: Claim, bucket: Sequence[Volume]) -> Iterator[str]:
    """Yield the volumes that would be chosen if their names were first."""
    for volume in bucket:
        renamed = [dataclasses.replace(each, name=FIRST) if each is volume else each for each in bucket]
        taken = Index(renamed).match(claim)
        if taken is not None and taken.name == FIRST:
            yield volume.name


def _bound(volume: Volume, claim: Claim) -> Volume:
    return dataclasses.replace(volume, claim_ref=ClaimRef(claim.namespace, claim.name, claim.uid), phase="Bound")
