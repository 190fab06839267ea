"""Inventory service: pools, manifests and the trash, for the control plane."""

import math
from datetime import datetime

from google.protobuf import timestamp_pb2

from csi.errors import InvalidArgument
from csi.services import checks
from csi.services.controller import context_of
from csi.services.edge import rpc
from csi.v1 import inventory_pb2, inventory_pb2_grpc
from csi.volumes.catalog import Entry
from csi.volumes.imports import Importing
from csi.volumes.manifest import Holder, Manifest
from csi.volumes.paging import page
from csi.volumes.pool_reports import PoolReport
from csi.volumes.trash import Trashed
from csi.volumes.volume_manager import VolumeManager


class Inventory(inventory_pb2_grpc.InventoryServicer):
    """Checks requests, calls the volume manager, and builds responses."""

    def __init__(self, manager: VolumeManager) -> None:
        self._manager = manager

    @rpc
    # unbounded: as many as the node has pools, which its admin mounts
    async def ListPools(self, request: inventory_pb2.ListPoolsRequest) -> inventory_pb2.ListPoolsResponse:
        """Return all pools, the refused ones with their problem."""
        backends = self._manager.usable_backends()
        return inventory_pb2.ListPoolsResponse(
            pools=[_pool(each, backends) for each in await self._manager.pool_reports()]
        )

    @rpc
    async def ListManifests(self, request: inventory_pb2.ListManifestsRequest) -> inventory_pb2.ListManifestsResponse:
        """Return the volumes whose owner record has the labels, by pages."""
        labels = checks.mapping(request.labels, "labels")
        found = [entry for entry in self._manager.volumes() if _has_labels(entry.manifest, labels)]
        manifests, token = page(
            found,
            key=lambda entry: entry.manifest.handle,
            size=request.page_size,
            token=request.page_token,
            render=self._manifest,
        )
        return inventory_pb2.ListManifestsResponse(manifests=manifests, next_page_token=token)

    @rpc
    async def RecordHolder(self, request: inventory_pb2.RecordHolderRequest) -> inventory_pb2.RecordHolderResponse:
        """Record the owner of a volume."""
        handle = checks.text(request.volume_id, "volume_id")
        if not request.holder.labels:
            raise InvalidArgument("holder.labels are missing")
        labels = checks.mapping(request.holder.labels, "holder.labels")
        entry = await self._manager.record_holder(handle, labels)
        return inventory_pb2.RecordHolderResponse(manifest=self._manifest(entry))

    @rpc
    async def ListTrash(self, request: inventory_pb2.ListTrashRequest) -> inventory_pb2.ListTrashResponse:
        """Return the deleted volumes whose last owner record has the labels, by pages."""
        labels = checks.mapping(request.labels, "labels")
        found = [each for each in await self._manager.trashed() if _has_labels(each.manifest, labels)]
        found.sort(key=_trash_key)
        entries, token = page(
            found, key=_trash_key, size=request.page_size, token=request.page_token, render=self._trashed
        )
        return inventory_pb2.ListTrashResponse(entries=entries, next_page_token=token)

    @rpc
    async def Undelete(self, request: inventory_pb2.UndeleteRequest) -> inventory_pb2.UndeleteResponse:
        """Restore a volume from the trash."""
        entry = await self._manager.undelete(checks.text(request.volume_id, "volume_id"))
        return inventory_pb2.UndeleteResponse(manifest=self._manifest(entry))

    @rpc
    async def Import(self, request: inventory_pb2.ImportRequest) -> inventory_pb2.ImportResponse:
        """Import an existing directory or image as a volume."""
        importing = Importing(
            name=checks.text(request.name, "name"),
            item=request.item,
            pool=request.pool,
            required=checks.size(request.required_bytes, "required_bytes"),
            raw=request.raw,
            labels=tuple(sorted(checks.mapping(request.holder.labels, "holder.labels").items())),
        )
        return inventory_pb2.ImportResponse(manifest=self._manifest(await self._manager.import_volume(importing)))

    @rpc
    async def Purge(self, request: inventory_pb2.PurgeRequest) -> inventory_pb2.PurgeResponse:
        """Purge one deleted volume, or all."""
        if bool(request.volume_id) == request.all:
            raise InvalidArgument("set either volume_id or all")
        before = request.deleted_before.seconds if request.HasField("deleted_before") else math.inf
        return inventory_pb2.PurgeResponse(purged=await self._manager.purge(request.volume_id, deleted_before=before))

    @rpc
    async def GetUse(self, request: inventory_pb2.GetUseRequest) -> inventory_pb2.GetUseResponse:
        """Return a path at which this node uses the volume."""
        return inventory_pb2.GetUseResponse(
            path=await self._manager.used_at(checks.text(request.volume_id, "volume_id"))
        )

    def _manifest(self, entry: Entry) -> inventory_pb2.Manifest:
        manifest = entry.manifest
        return inventory_pb2.Manifest(
            volume_id=manifest.handle,
            csi_name=manifest.name,
            pool_uuid=manifest.pool,
            pool_name=entry.pool.name,
            capacity_bytes=manifest.size_bytes,
            backend=manifest.backend,
            fs_type=manifest.fs_type,
            fs_uuid=manifest.fs_uuid,
            access_type=manifest.access_type,
            parameters=manifest.parameters,
            volume_context=context_of(entry),
            state=manifest.state,
            holder=_holder(manifest.holder) if manifest.holder else None,
            ledger=[_holder(each) for each in manifest.ledger],
            created=_timestamp(manifest.created),
            stored_bytes=self._manager.stored_bytes(entry),
        )

    def _trashed(self, trashed: Trashed) -> inventory_pb2.TrashEntry:
        return inventory_pb2.TrashEntry(
            manifest=self._manifest(Entry(trashed.pool, trashed.manifest)),
            deleted=timestamp_pb2.Timestamp(seconds=trashed.deleted),
            purge_after=timestamp_pb2.Timestamp(seconds=trashed.purge_after),
            stored_bytes=self._manager.stored_bytes_in_trash(trashed),
        )


def _pool(report: PoolReport, backends: list[str]) -> inventory_pb2.Pool:
    if not report.uuid:
        return inventory_pb2.Pool(name=report.name, path=str(report.path), problem=report.problem)
    return inventory_pb2.Pool(
        uuid=report.uuid,
        name=report.name,
        path=str(report.path),
        capacity_bytes=report.capacity,
        allocated_bytes=report.allocated,
        available_bytes=report.available,
        trash_bytes=report.trash,
        backends=backends,
        problem=report.problem,
        used_bytes=report.used,
        reserved_bytes=report.reserved,
        issues=report.issues,
    )


def _trash_key(trashed: Trashed) -> str:
    return f"{trashed.manifest.handle}.{2**40 - trashed.deleted:013d}"


def _has_labels(manifest: Manifest, labels: dict[str, str]) -> bool:
    recorded = manifest.holder.labels if manifest.holder else {}
    return labels.items() <= recorded.items()


def _holder(holder: Holder) -> inventory_pb2.Holder:
    return inventory_pb2.Holder(labels=holder.labels, since=_timestamp(holder.since))


def _timestamp(text: str) -> timestamp_pb2.Timestamp:
    moment = timestamp_pb2.Timestamp()
    moment.FromDatetime(datetime.fromisoformat(text))
    return moment
