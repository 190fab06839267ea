"""
The volumes on the disks, the API objects that represent them, and which of them may be erased.

Only bytes that no object refers to are erased. A PersistentVolume, a claim that waits for them or lost its
PersistentVolume, a mount, another cluster, or a copy of the disk is a reason to refuse.
"""

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.model import names
from provisioner.model.inventory import Manifest, Pool
from provisioner.model.kinds import Object


class State(enum.Enum):
    """The state of a volume on a disk; the first five are the phases of its PersistentVolume."""

    BOUND = "bound"
    RELEASED = "released"
    """Its claim was deleted, and the volume is retained."""
    AVAILABLE = "available"
    FAILED = "failed"
    PENDING = "pending"
    CREATING = "creating"
    """No PersistentVolume yet: it is being created for a claim."""
    ORPHAN = "orphan"
    """It has no PersistentVolume."""
    OTHER_CLUSTER = "other-cluster"
    """It has no PersistentVolume here, and another cluster recorded it, which may have one."""
    UNAVAILABLE = "unavailable"
    """There is a PersistentVolume, and its bytes are on no available node."""


WITHOUT_OBJECT: Final = frozenset({State.ORPHAN, State.OTHER_CLUSTER, State.CREATING})
"""States of bytes without a PersistentVolume."""

PHASES: Final = {each.value: each for each in (State.BOUND, State.RELEASED, State.AVAILABLE, State.FAILED)}


@dataclass(frozen=True, slots=True)
class VolumeSummary:
    """The fields of a PersistentVolume that are needed here: an invalid field elsewhere must not hide it."""

    name: str
    handle: str
    phase: str = ""
    claim: str = ""
    """The claim of its claimRef as namespace/name; "" for none."""
    capacity: str = ""
    pool: str = ""

    @classmethod
    def of(cls, obj: Object) -> "VolumeSummary | None":
        """Read an API object; None when it belongs to another driver."""
        spec = obj.get("spec") or {}
        csi, ref = spec.get("csi") or {}, spec.get("claimRef") or {}
        if csi.get("driver") != names.DRIVER:
            return None
        return cls(
            name=str(obj["metadata"]["name"]),
            handle=str(csi.get("volumeHandle") or ""),
            phase=str((obj.get("status") or {}).get("phase") or ""),
            claim=f"{ref.get('namespace')}/{ref.get('name')}" if ref.get("name") else "",
            capacity=str((spec.get("capacity") or {}).get("storage") or ""),
            pool=str((csi.get("volumeAttributes") or {}).get("mooring.dev/pool") or ""),
        )


@dataclass(frozen=True, slots=True)
class ClaimSummary:
    """The fields of a claim that are needed here."""

    namespace: str
    name: str
    uid: str
    volume_name: str = ""
    forgets: bool = False

    @classmethod
    def of(cls, obj: Object) -> "ClaimSummary":
        """Read an API object."""
        metadata = obj["metadata"]
        uid = str(metadata.get("uid") or "")
        return cls(
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
            uid=uid,
            volume_name=str((obj.get("spec") or {}).get("volumeName") or ""),
            forgets=bool(uid) and (metadata.get("annotations") or {}).get(names.FORGET) == uid,
        )

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The objects of the API server; `uid` is the cluster's UID."""

    uid: str
    volumes: Sequence[VolumeSummary] = ()
    claims: Sequence[ClaimSummary] = ()

    @property
    def by_handle(self) -> Mapping[str, VolumeSummary]:
        """Volume handle → PersistentVolume."""
        return {each.handle: each for each in self.volumes}


@dataclass(frozen=True, slots=True)
class StoredVolume:
    """
    A volume on a disk.

    :ivar claim: the claim that has it or had it last, as namespace/name; "" for none
    :ivar volume: name of its PersistentVolume; "" for none
    :ivar cluster: UID of the cluster that recorded it
    :ivar size_bytes: reserved bytes; None where they cannot be read
    :ivar used_bytes: occupied bytes; None while they are not measured
    :ivar nodes: several for a copied disk
    """

    name: str
    handle: str
    state: State
    claim: str
    volume: str
    size_bytes: int | None
    used_bytes: int | None
    pool: str
    nodes: tuple[str, ...]
    cluster: str


def stored_volumes(manifests: Sequence[Manifest], pools: Sequence[Pool], cluster: Cluster) -> list[StoredVolume]:
    """Return every volume on the disks, and every PersistentVolume whose bytes are on none; by claim, then by name."""
    pool_names = {pool.uuid: pool.name for pool in pools}
    objects = cluster.by_handle
    live = {each.handle: each for each in manifests if not each.in_trash}
    found = [
        StoredVolume(
            name=each.csi_name,
            handle=handle,
            state=state_of(each, cluster),
            claim=(objects[handle].claim if handle in objects else "") or holder_of(each),
            volume=objects[handle].name if handle in objects else "",
            size_bytes=each.capacity_bytes,
            used_bytes=each.stored_bytes,
            pool=pool_names.get(each.pool_uuid, each.pool_uuid),
            nodes=tuple(sorted({pool.node for pool in pools if pool.uuid == each.pool_uuid})),
            cluster=each.holder.get(names.HOLDER_CLUSTER_UID, ""),
        )
        for handle, each in live.items()
    ]
    found += [_unavailable(each, cluster.uid) for handle, each in objects.items() if handle not in live]
    return sorted(found, key=lambda each: (not each.claim, each.claim, each.name))


def _unavailable(volume: VolumeSummary, cluster: str) -> StoredVolume:
    pool = volume.pool or volume.handle.partition(".")[0]
    return StoredVolume(
        volume.name, volume.handle, State.UNAVAILABLE, volume.claim, volume.name, None, None, pool, (), cluster
    )


def state_of(manifest: Manifest, cluster: Cluster) -> State:
    """Return the state of a volume on a disk."""
    if (volume := cluster.by_handle.get(manifest.handle)) is not None:
        return PHASES.get(volume.phase.lower(), State.PENDING)
    if manifest.holder.get(names.HOLDER_CLUSTER_UID, "") not in {"", cluster.uid}:
        return State.OTHER_CLUSTER
    waits = any(not each.volume_name and _created_for(each, manifest) for each in cluster.claims)
    return State.CREATING if waits else State.ORPHAN


def against_erasing(
    manifest: Manifest, manifests: Sequence[Manifest], cluster: Cluster, *, from_cluster: str = "", used_at: str = ""
) -> Reason | None:
    """
    Return why the bytes of a volume may not be erased; None when they may.

    :param manifests: all manifests on the disks
    :param from_cluster: UID of another cluster whose volumes may be erased as well
    :param used_at: a path at which the volume's node uses it
    """
    if (volume := cluster.by_handle.get(manifest.handle)) is not None:
        return Reason("erase-volume", manifest.csi_name, actual=volume.name)
    if Counter(each.handle for each in manifests if not each.in_trash)[manifest.handle] > 1:
        return Reason("erase-copied", manifest.csi_name, actual=manifest.pool_uuid)
    reason = _against_losing(manifest, cluster, from_cluster)
    return reason or (Reason("erase-mounted", manifest.csi_name, actual=used_at) if used_at else None)


def against_purging(
    manifest: Manifest, manifests: Sequence[Manifest], cluster: Cluster, *, from_cluster: str = ""
) -> Reason | None:
    """
    Return why an entry of the trash may not be purged; None when it may.

    An entry that is older than a volume of the same handle, in the pool or in the trash, is not needed by any claim.
    """
    same = [each for each in manifests if each.handle == manifest.handle]
    if any(not each.in_trash or each.deleted > manifest.deleted for each in same):
        return _against_cluster(manifest, cluster, from_cluster)
    if (volume := cluster.by_handle.get(manifest.handle)) is not None:
        return Reason("erase-volume", manifest.csi_name, actual=volume.name)
    return _against_losing(manifest, cluster, from_cluster)


def _against_losing(manifest: Manifest, cluster: Cluster, from_cluster: str) -> Reason | None:
    """Return the cluster or claim that may need bytes without a PersistentVolume, as a reason; None for neither."""
    if reason := _against_cluster(manifest, cluster, from_cluster):
        return reason
    for claim in cluster.claims:
        if claim.volume_name == manifest.csi_name:
            return Reason("erase-lost", manifest.csi_name, claim.key)
        if not claim.volume_name and (_created_for(claim, manifest) or _may_adopt(claim, manifest)):
            return Reason("erase-claim", manifest.csi_name, claim.key)
    return None


def _against_cluster(manifest: Manifest, cluster: Cluster, from_cluster: str) -> Reason | None:
    recorded = manifest.holder.get(names.HOLDER_CLUSTER_UID, "")
    own = recorded in {"", cluster.uid, from_cluster}
    return None if own else Reason("erase-cluster", manifest.csi_name, actual=recorded)


def holder_of(manifest: Manifest) -> str:
    """Return the last owner in a volume's manifest, as namespace/name; "" for none."""
    claim = manifest.holder.get(names.HOLDER_CLAIM, "")
    return f"{manifest.holder.get(names.HOLDER_NAMESPACE, '')}/{claim}" if claim else ""


def _created_for(claim: ClaimSummary, manifest: Manifest) -> bool:
    return bool(claim.uid) and manifest.holder.get(names.HOLDER_CLAIM_UID) == claim.uid


def _may_adopt(claim: ClaimSummary, manifest: Manifest) -> bool:
    """Report whether the volume may be a former volume of a claim that has none."""
    return holder_of(manifest) == claim.key and names.RELEASED not in manifest.holder and not claim.forgets
