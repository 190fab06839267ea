"""A driver in memory, a fake of the driver client: volumes, a trash, owner records, with the real driver's answers."""

import asyncio
from collections.abc import Container, Mapping

import grpc

from csi.v1 import csi_pb2, inventory_pb2
from provisioner.drivers.client import (
    Created,
    Expanded,
    FormerVolumeError,
    RpcError,
    VolumeNotFoundError,
    VolumeRequest,
)
from provisioner.model.names import RELEASED
from tests.unit.provisioner.controllers.objects import POOL

RESERVED = "mooring.dev/"
OWNER = ("mooring.dev/namespace-uid", "mooring.dev/claim")


class FakeDriver:
    """
    Stores manifests by handle.

    `error`, when set, is raised by the next change; `node_too` means that filesystems have to be expanded on the node.
    While `idle` is not set, CreateVolume does not finish; `creating` has the requested names. `used` is handle → path
    of volumes in use, which are not deleted; `deleted` has the deletion times of those in the trash, in unix seconds.
    """

    def __init__(self, pool: str = POOL) -> None:
        self.pool = pool
        self.live: dict[str, inventory_pb2.Manifest] = {}
        self.trash: dict[str, inventory_pb2.Manifest] = {}
        self.error: RpcError | None = None
        self.node_expansion_required = False
        self.mutable: dict[str, dict[str, str]] = {}
        self.candidates: Container[str] | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.creating: set[str] = set()
        self.used: dict[str, str] = {}
        self.deleted: dict[str, int] = {}
        self._clock = 0

    async def create_volume(
        self, desired: VolumeRequest, *, may_have_former: bool, candidates: Container[str] | None = None
    ) -> Created:
        """See DriverClient."""
        assert desired.capabilities
        name = desired.name
        self.candidates = candidates
        if self.error:
            error, self.error = self.error, None
            raise error
        labels = {key: value for key, value in desired.parameters.items() if key.startswith(RESERVED)}
        if may_have_former:
            owner = {key: labels[key] for key in OWNER}
            for each in await self.list_manifests(owner):
                if each.csi_name != name and RELEASED not in each.holder.labels:
                    raise FormerVolumeError(each.volume_id, in_trash=False)
        self.creating.add(name)
        await self.idle.wait()
        handle = f"{self.pool}.{name}"
        self.mutable.setdefault(handle, dict(desired.mutable_parameters))
        if handle not in self.live:
            self.live[handle] = inventory_pb2.Manifest(
                volume_id=handle,
                csi_name=name,
                pool_uuid=self.pool,
                capacity_bytes=desired.required_bytes,
                access_type="mount",
                state="ready",
            )
            self._record_owner(handle, labels)
        return Created(handle=handle, capacity_bytes=desired.required_bytes, context={"mooring.dev/pool": "local"})

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """See DriverClient."""
        assert capability.WhichOneof("access_type")
        if self.error:
            error, self.error = self.error, None
            raise error
        if handle not in self.live:
            raise VolumeNotFoundError(code=grpc.StatusCode.NOT_FOUND, message=f"no volume {handle}")
        manifest = self.live[handle]
        manifest.capacity_bytes = max(manifest.capacity_bytes, required_bytes)
        return Expanded(manifest.capacity_bytes, node_expansion_required=self.node_expansion_required)

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """See DriverClient."""
        if self.error:
            error, self.error = self.error, None
            raise error
        self.mutable.setdefault(handle, {}).update(parameters)

    async def delete_volume(self, handle: str) -> None:
        """See DriverClient."""
        if path := self.used.get(handle):
            raise RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message=f"volume {handle} is in use at {path}")
        if handle in self.live:
            self._clock += 1
            self.trash[handle], self.deleted[handle] = self.live.pop(handle), self._clock

    async def used_at(self, handle: str) -> str:
        """See DriverClient."""
        return self.used.get(handle, "")

    async def purge(self, handle: str, *, deleted_before: int) -> int:
        """See DriverClient."""
        if handle not in self.trash or self.deleted[handle] > deleted_before:
            return 0
        del self.trash[handle]
        return 1

    async def pools_by_node(self) -> dict[str, list[inventory_pb2.Pool]]:
        """See DriverRegistry."""
        return {"local": await self.list_pools()}

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        """See DriverClient."""
        return [inventory_pb2.Pool(uuid=self.pool, name="local", backends=["directory"])]

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.Manifest]:
        """See DriverClient."""
        return [each for each in self.live.values() if _owned_by(each, labels)]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.TrashEntry]:
        """See DriverClient."""
        found = [inventory_pb2.TrashEntry(manifest=each) for each in self.trash.values() if _owned_by(each, labels)]
        for each in found:
            moment = self.deleted.get(each.manifest.volume_id, 0)
            each.deleted.FromSeconds(moment)
            each.purge_after.FromSeconds(moment + 86400)
            each.stored_bytes = each.manifest.stored_bytes
        return found

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """See DriverClient."""
        if handle not in self.live:
            raise VolumeNotFoundError(code=grpc.StatusCode.NOT_FOUND, message=f"no volume {handle}")
        self._record_owner(handle, labels)

    async def undelete(self, handle: str) -> inventory_pb2.Manifest:
        """See DriverClient."""
        self.live[handle] = self.trash.pop(handle)
        return self.live[handle]

    def _record_owner(self, handle: str, labels: Mapping[str, str]) -> None:
        manifest = self.live[handle]
        if dict(manifest.holder.labels) != dict(labels):
            self._clock += 1
            manifest.holder.labels.clear()
            manifest.holder.labels.update(labels)
            manifest.holder.since.FromSeconds(self._clock)


def _owned_by(manifest: inventory_pb2.Manifest, labels: Mapping[str, str] | None) -> bool:
    return all(manifest.holder.labels.get(key) == value for key, value in (labels or {}).items())
