"""List the volumes on the disks of all nodes with their API objects, and erase one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.binding.decision import Reason
from provisioner.binding.on_disk import (
    ClaimSummary,
    Cluster,
    StoredVolume,
    VolumeSummary,
    against_erasing,
    stored_volumes,
)
from provisioner.drivers.registry import pool_view
from provisioner.kube.transport import Transport
from provisioner.model.inventory import Manifest, Pool
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, VOLUME
from provisioner.model.names import POOL_LABEL_PREFIX
from provisioner.observe.claim_facts import Inventory, view, view_of_trash
from provisioner.observe.cluster_uid import CLUSTER_NAMESPACE

log = structlog.get_logger()


class Drivers(Inventory, Protocol):
    """The calls to the drivers."""

    async def pools_by_node(self) -> "Mapping[str, Sequence[inventory_pb2.Pool]]":
        """Return the pools of the nodes whose drivers are available."""

    async def used_at(self, handle: str) -> str:
        """Return a path at which the volume is in use, "" for none."""

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash."""

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """Restore the volume from the trash."""

    async def purge(self, handle: str, *, deleted_before: int) -> int:
        """Purge what was deleted until then."""


class RestoredMeanwhileError(Exception):
    """A PersistentVolume for the volume was created while it was erased; the volume was restored."""


@dataclass(frozen=True, slots=True)
class Disks:
    """The observed volumes; `reported` are the pools by node, `unavailable` the nodes whose drivers are unavailable."""

    manifests: Sequence[Manifest]
    reported: "Mapping[str, Sequence[inventory_pb2.Pool]]"
    cluster: Cluster
    unavailable: Sequence[str]

    @property
    def pools(self) -> list[Pool]:
        """The pools of all available nodes."""
        return [pool_view(pool, node=node) for node, pools in self.reported.items() for pool in pools]

    @property
    def volumes(self) -> list[StoredVolume]:
        """All volumes."""
        return stored_volumes(self.manifests, self.pools, self.cluster)


async def observe(transport: Transport, drivers: Drivers) -> Disks:
    """Query the drivers and the API server. Raises ApiError, and RpcError when the only driver is unavailable."""
    reported = await drivers.pools_by_node()
    manifests = [view(each, in_trash=False) for each in await drivers.list_manifests()]
    manifests += [view_of_trash(each) for each in await drivers.list_trash()]
    nodes = (await transport.list(NODE)).items
    unavailable = [
        each["metadata"]["name"]
        for each in nodes
        if each["metadata"]["name"] not in reported
        and any(key.startswith(POOL_LABEL_PREFIX) for key in each["metadata"].get("labels") or ())
    ]
    return Disks(manifests, reported, await observe_cluster(transport), sorted(unavailable))


async def observe_cluster(transport: Transport) -> Cluster:
    """
    Read the API server's objects. Raises ApiError.

    Volumes are read last, so that a PersistentVolume that is created meanwhile is not missed.
    """
    uid = (await transport.get(NAMESPACE, CLUSTER_NAMESPACE))["metadata"]["uid"]
    claims = [ClaimSummary.of(each) for each in (await transport.list(CLAIM)).items]
    volumes = [VolumeSummary.of(each) for each in (await transport.list(VOLUME)).items]
    return Cluster(str(uid), [each for each in volumes if each is not None], claims)


async def reason_against(disks: Disks, drivers: Drivers, manifest: Manifest, *, from_cluster: str) -> Reason | None:
    """Return why a volume may not be erased, also because of mounts; None when it may. Raises RpcError."""
    reason = against_erasing(manifest, disks.manifests, disks.cluster, from_cluster=from_cluster)
    if reason is not None:
        return reason
    used_at = await drivers.used_at(manifest.handle)
    return against_erasing(manifest, disks.manifests, disks.cluster, from_cluster=from_cluster, used_at=used_at)


async def erase(transport: Transport, drivers: Drivers, manifest: Manifest) -> None:
    """
    Move the volume to the trash.

    The driver refuses while it is mounted. When a PersistentVolume is created meanwhile, the volume is restored. Raises
    RestoredMeanwhileError, ApiError, RpcError.
    """
    await drivers.delete_volume(manifest.handle)
    if manifest.handle in (await observe_cluster(transport)).by_handle:
        await drivers.undelete(manifest.handle)
        raise RestoredMeanwhileError(
            f"a PersistentVolume for {manifest.csi_name} was created just now, and the volume is retained; "
            f"`mooring volumes` shows its claim"
        )
    log.info("volume.erased", handle=manifest.handle)


async def purge_newest(drivers: Drivers, handle: str) -> int:
    """Purge the trash entries of a handle; return their number. Raises RpcError."""
    moments = [each.deleted.seconds for each in await drivers.list_trash() if each.manifest.volume_id == handle]
    return await drivers.purge(handle, deleted_before=max(moments)) if moments else 0
