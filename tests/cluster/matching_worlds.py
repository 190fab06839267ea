"""Small worlds of claims and volumes at random, and every way in which they may end up bound to each other."""

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
NOBODY = "nobody.example.com"
"""A driver that does not exist: nothing is ever mounted."""

FIRST = "!"
"""Comes before every name that an object can have."""


@dataclass(frozen=True)
class World:
    """One class, and what there is of it. Nothing in it can be had by a claim of another world."""

    name: str
    namespace: str
    volumes: tuple[Json, ...]
    claims: tuple[Json, ...]

    @property
    def storage_class(self) -> Json:
        """Binds at once, and makes nothing."""
        return {
            "metadata": {"name": self.name, "labels": {"world": self.namespace}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "Immediate",
        }


def world(chance: random.Random, *, name: str, namespace: str) -> World:
    """With whatever matching looks at, and few values of each, so that much is equal."""
    claims = [f"{name}-claim-{number}" for number in range(chance.randint(1, 4))]
    volumes = [f"{name}-volume-{number}" for number in range(chance.randint(1, 5))]
    made = [_volume(chance, each, name, namespace, claims) for each in volumes]
    return World(name, namespace, tuple(made), tuple(_claim(chance, each, name, namespace, volumes) for each in claims))


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
        "csi": {"driver": NOBODY, "volumeHandle": name},
    }
    reserved = chance.random()
    if reserved < 0.2:
        spec["claimRef"] = {"namespace": namespace, "name": chance.choice([*claims, "nobody"])}
    elif reserved < 0.25:
        spec["claimRef"] = {"namespace": namespace, "name": chance.choice(claims), "uid": "of-an-earlier-one"}
    labels = {"world": namespace, "disk": chance.choice(["fast", "slow"])}
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
        spec["volumeName"] = chance.choice([*volumes, "none-such"])
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"world": namespace}}, "spec": spec}


def allowed(claims: Sequence[Claim], volumes: Sequence[Volume]) -> set[frozenset[tuple[str, str]]]:
    """Every final pairing: the claims come in any order, and what is equal for upstream is taken in any order, too."""
    seen: dict[tuple[frozenset[str], tuple[tuple[str, str], ...]], None] = {}
    found: set[frozenset[tuple[str, str]]] = set()

    def go(waiting: frozenset[str], pairs: tuple[tuple[str, str], ...], left: Mapping[str, Volume]) -> None:
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
                go(waiting - {claim.name}, (*pairs, (claim.name, taken)), {**left, taken: _given(left[taken], claim)})
            if not options:
                go(waiting - {claim.name}, pairs, left)

    go(frozenset(each.name for each in claims), (), {each.name: each for each in volumes})
    return found


def ours(claims: Sequence[Claim], volumes: Sequence[Volume], storage_class: StorageClass) -> frozenset[tuple[str, str]]:
    """The pairing that Mooring's binder comes to, which takes claims and equal volumes in the order of their names."""
    left, pairs = {each.name: each for each in volumes}, set()
    for claim in sorted(claims, key=lambda each: each.name):
        step = claim_step(claim, volumes=Index(left.values()), storage_class=storage_class, default_class=None)
        if step.bind_to is not None:
            pairs.add((claim.name, step.bind_to.name))
            left[step.bind_to.name] = _given(step.bind_to, claim)
    return frozenset(pairs)


def _options(claim: Claim, volumes: Sequence[Volume]) -> Iterator[str]:
    """The volumes that the claim may get now; more than one where upstream leaves it to the order of a map."""
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
    """Those that would be taken if their name came first."""
    for volume in bucket:
        renamed = [dataclasses.replace(each, name=FIRST) if each is volume else each for each in bucket]
        taken = Index(renamed).match(claim)
        if taken is not None and taken.name == FIRST:
            yield volume.name


def _given(volume: Volume, claim: Claim) -> Volume:
    return dataclasses.replace(volume, claim_ref=ClaimRef(claim.namespace, claim.name, claim.uid), phase="Bound")
