"""
Which volumes get a PersistentVolume again, from what their pools tell of them: the API server's database is gone.

A volume comes back as the former volume of the claim that had it last, and the claim of that name adopts it like any
other. What cannot be told for certain is left where it is, with the reason; naming the volume settles it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from provisioner.binding.decision import Reason
from provisioner.model import names
from provisioner.model.inventory import Manifest
from provisioner.model.volume import Volume


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The cluster as it is now. `namespaces` is name → UID; `uid` is the cluster's own."""

    uid: str
    namespaces: Mapping[str, str]
    classes: Collection[str]
    volumes: Sequence[Volume]


@dataclass(frozen=True, slots=True)
class Recovery:
    """One volume: it is restored, unless there is a reason against it."""

    manifest: Manifest
    reason: Reason | None = None

    @property
    def is_there(self) -> bool:
        """Whether it needs nothing, as its object exists."""
        return self.reason is not None and self.reason.code == "recover-exists"


def recover(
    manifests: Sequence[Manifest], now: Surroundings, *, cluster: str | None = None, chosen: Collection[str] = ()
) -> list[Recovery]:
    """
    What is to happen to each volume of `cluster`, by claim.

    Without one, to those of every other cluster, and to those of this one that have no PersistentVolume.
    `chosen` are names of volumes that somebody decided about: doubts about whose they are do not count. Without a
    cluster, they are all that is meant.
    """
    known = _newest(manifests)
    whole = cluster is not None or not chosen
    there = {each.handle for each in now.volumes if each.driver == names.DRIVER}
    found = [each for each in known if (whole and _is_meant(each, now, cluster, there)) or each.csi_name in chosen]
    mine = [each for each in known if each not in found and each.holder.get(names.HOLDER_CLUSTER_UID) == now.uid]
    doubts = _Doubts([*found, *mine], now)
    judged = [Recovery(each, _against(each, now, doubts, is_chosen=each.csi_name in chosen)) for each in found]
    return sorted(judged, key=lambda each: (*_claim(each.manifest), each.manifest.csi_name))


def _newest(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Of what lies in the trash under one handle only the newest, which is told of first, and only if none lives."""
    living = [each for each in manifests if not each.in_trash]
    deleted = {each.handle: each for each in reversed([each for each in manifests if each.in_trash])}
    alive = {each.handle for each in living}
    return [*living, *(each for handle, each in deleted.items() if handle not in alive)]


def _is_meant(manifest: Manifest, now: Surroundings, cluster: str | None, there: Collection[str]) -> bool:
    """`there` are the handles that have a PersistentVolume; what is being created has none yet, and is left out."""
    theirs = manifest.holder.get(names.HOLDER_CLUSTER_UID, "")
    if cluster is not None or theirs != now.uid:
        return cluster in {None, theirs}
    return manifest.ready and not manifest.in_trash and manifest.handle not in there


def _claim(manifest: Manifest) -> tuple[str, str]:
    return manifest.holder.get(names.HOLDER_NAMESPACE, ""), manifest.holder.get(names.HOLDER_CLAIM, "")


_Home = tuple[str | None, str | None]
"""A cluster, and a namespace's name in it."""


class _Doubts:
    """What makes it uncertain whose a volume is."""

    def __init__(self, manifests: Sequence[Manifest], now: Surroundings) -> None:
        self.copies = Counter(each.handle for each in manifests if not each.in_trash)
        self.handles = {each.handle for each in now.volumes if each.driver == names.DRIVER}
        self.names = {each.name for each in now.volumes}
        self.owners: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """Claim → the volumes that count as its former ones, with an object or without."""
        self.namespaces: defaultdict[_Home, set[str]] = defaultdict(set)
        """Where it was held → the namespace's UIDs: more than one when it was made anew there."""
        for volume in now.volumes:
            if volume.claim_ref is not None and names.RELEASED not in volume.annotations:
                self.owners[volume.claim_ref.namespace, volume.claim_ref.name].append(volume.name)
        for each in manifests:
            if not each.ready or each.in_trash or names.RELEASED in each.holder:
                continue
            self.namespaces[_home(each)].add(each.holder.get(names.HOLDER_NAMESPACE_UID, "unknown"))
            if each.handle not in self.handles:
                self.owners[_claim(each)].append(each.csi_name)


def _home(manifest: Manifest) -> _Home:
    return manifest.holder.get(names.HOLDER_CLUSTER_UID), manifest.holder.get(names.HOLDER_NAMESPACE)


def _against(manifest: Manifest, now: Surroundings, doubts: _Doubts, *, is_chosen: bool) -> Reason | None:
    """The first thing that keeps the volume from being restored."""
    name, (namespace, claim) = manifest.csi_name, _claim(manifest)
    if manifest.handle in doubts.handles:
        return Reason("recover-exists", name)
    if not manifest.ready:
        return Reason("recover-unfinished", name)
    if not namespace or not claim:
        return Reason("recover-no-owner", name)
    if doubts.copies[manifest.handle] > 1:
        return Reason("recover-copied", name, actual=manifest.pool_uuid)
    if name in doubts.names:
        return Reason("recover-name", name)
    if not manifest.holder.get(names.HOLDER_ACCESS_MODES):
        return Reason("recover-modes", name)
    class_name = manifest.holder.get(names.HOLDER_CLASS)
    if class_name and class_name not in now.classes:
        return Reason("recover-class", name, requested=class_name)
    if names.RELEASED in manifest.holder:
        return None  # nobody gets it by itself, so that it does not matter whose it is
    if namespace not in now.namespaces:
        return Reason("recover-namespace", name, requested=namespace)
    return None if is_chosen else _doubt(manifest, now, doubts)


def _doubt(manifest: Manifest, now: Surroundings, doubts: _Doubts) -> Reason | None:
    """Why it is not certain that the claim of this name shall have it."""
    name, (namespace, claim) = manifest.csi_name, _claim(manifest)
    if manifest.in_trash:
        return Reason("recover-trash", name)
    others = sorted(each for each in doubts.owners[namespace, claim] if each != name)
    if others:
        return Reason("recover-several", name, f"{namespace}/{claim}", ", ".join(others))
    theirs = doubts.namespaces[_home(manifest)]
    if manifest.holder.get(names.HOLDER_CLUSTER_UID) == now.uid and theirs != {now.namespaces[namespace]}:
        return Reason("recover-recreated-namespace", name, namespace)
    if len(theirs) > 1:
        return Reason("recover-several-namespaces", name, namespace, ", ".join(sorted(theirs)))
    return None
