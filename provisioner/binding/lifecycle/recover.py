"""
Decide which volumes get their PersistentVolume again from their manifests, after the API server's database was lost.

A volume is recovered as the former volume of the claim that had it last, and the claim of that name adopts it. A volume
whose owner is uncertain is not recovered, with the reason; an admin may name it.
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
    """The present cluster. `namespaces` is name → UID; `uid` is the cluster's UID."""

    uid: str
    namespaces: Mapping[str, str]
    classes: Collection[str]
    volumes: Sequence[Volume]


@dataclass(frozen=True, slots=True)
class Recovery:
    """One volume, which is recovered unless there is a reason against it."""

    manifest: Manifest
    reason: Reason | None = None

    @property
    def exists(self) -> bool:
        """Whether its PersistentVolume exists already."""
        return self.reason is not None and self.reason.code == "recover-exists"


def recover(
    manifests: Sequence[Manifest], now: Surroundings, *, cluster: str | None = None, chosen: Collection[str] = ()
) -> list[Recovery]:
    """
    Decide for each volume of a cluster whether it is recovered; sorted by claim.

    :param cluster: UID of the former cluster; None for all other clusters and volumes of this one without a
        PersistentVolume, or for the `chosen` volumes alone
    :param chosen: names of volumes that an admin named, so that doubts about their owners do not count
    """
    known = _newest(manifests)
    all_of_cluster = cluster is not None or not chosen
    existing = {each.handle for each in now.volumes if each.driver == names.DRIVER}
    found = [
        each
        for each in known
        if (all_of_cluster and _is_meant(each, now, cluster, existing)) or each.csi_name in chosen
    ]
    of_this_cluster = [
        each for each in known if each not in found and each.holder.get(names.HOLDER_CLUSTER_UID) == now.uid
    ]
    doubts = _Doubts([*found, *of_this_cluster], now)
    evaluation = [Recovery(each, _against(each, now, doubts, is_chosen=each.csi_name in chosen)) for each in found]
    return sorted(evaluation, key=lambda each: (*_claim(each.manifest), each.manifest.csi_name))


def _newest(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Return volumes without those of the trash that have a newer or a live one of the same handle."""
    live = [each for each in manifests if not each.in_trash]
    deleted = {each.handle: each for each in reversed([each for each in manifests if each.in_trash])}
    live_handles = {each.handle for each in live}
    return [*live, *(each for handle, each in deleted.items() if handle not in live_handles)]


def _is_meant(manifest: Manifest, now: Surroundings, cluster: str | None, existing: Collection[str]) -> bool:
    """Report whether a volume is considered; `existing` are the handles with a PersistentVolume."""
    owner_cluster = manifest.holder.get(names.HOLDER_CLUSTER_UID, "")
    if cluster is not None or owner_cluster != now.uid:
        return cluster in {None, owner_cluster}
    return manifest.ready and not manifest.in_trash and manifest.handle not in existing


def _claim(manifest: Manifest) -> tuple[str, str]:
    return manifest.holder.get(names.HOLDER_NAMESPACE, ""), manifest.holder.get(names.HOLDER_CLAIM, "")


_OwnerNamespace = tuple[str | None, str | None]
"""A cluster, and the name of a namespace in it."""


class _Doubts:
    """Facts that make a volume's owner uncertain."""

    def __init__(self, manifests: Sequence[Manifest], now: Surroundings) -> None:
        self.copies = Counter(each.handle for each in manifests if not each.in_trash)
        self.handles = {each.handle for each in now.volumes if each.driver == names.DRIVER}
        self.names = {each.name for each in now.volumes}
        self.owners: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """Claim → its former volumes, with a PersistentVolume or without."""
        self.namespaces: defaultdict[_OwnerNamespace, set[str]] = defaultdict(set)
        """Namespace of the owner → its UIDs; several when the namespace was recreated."""
        for volume in now.volumes:
            if volume.claim_ref is not None and names.RELEASED not in volume.annotations:
                self.owners[volume.claim_ref.namespace, volume.claim_ref.name].append(volume.name)
        for each in manifests:
            if not each.ready or each.in_trash or names.RELEASED in each.holder:
                continue
            self.namespaces[_owner_namespace(each)].add(each.holder.get(names.HOLDER_NAMESPACE_UID, "unknown"))
            if each.handle not in self.handles:
                self.owners[_claim(each)].append(each.csi_name)


def _owner_namespace(manifest: Manifest) -> _OwnerNamespace:
    return manifest.holder.get(names.HOLDER_CLUSTER_UID), manifest.holder.get(names.HOLDER_NAMESPACE)


def _against(manifest: Manifest, now: Surroundings, doubts: _Doubts, *, is_chosen: bool) -> Reason | None:
    """Return the first reason not to recover the volume; None when there is none."""
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
        return None  # no claim adopts it automatically, so its owner does not matter
    if namespace not in now.namespaces:
        return Reason("recover-namespace", name, requested=namespace)
    return None if is_chosen else _doubt(manifest, now, doubts)


def _doubt(manifest: Manifest, now: Surroundings, doubts: _Doubts) -> Reason | None:
    """Return why it is uncertain that the claim of this name owns it; None when it is certain."""
    name, (namespace, claim) = manifest.csi_name, _claim(manifest)
    if manifest.in_trash:
        return Reason("recover-trash", name)
    others = sorted(each for each in doubts.owners[namespace, claim] if each != name)
    if others:
        return Reason("recover-several", name, f"{namespace}/{claim}", ", ".join(others))
    owner_cluster = doubts.namespaces[_owner_namespace(manifest)]
    if manifest.holder.get(names.HOLDER_CLUSTER_UID) == now.uid and owner_cluster != {now.namespaces[namespace]}:
        return Reason("recover-recreated-namespace", name, namespace)
    if len(owner_cluster) > 1:
        return Reason("recover-several-namespaces", name, namespace, ", ".join(sorted(owner_cluster)))
    return None
