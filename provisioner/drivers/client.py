"""The client of one driver: CSI's Controller service and Mooring's Inventory, with typed errors."""

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import timestamp_pb2

from csi.v1 import csi_pb2, csi_pb2_grpc, inventory_pb2, inventory_pb2_grpc
from provisioner import limits
from provisioner.model.errors import ExpectedError
from provisioner.model.names import NODE_TOPOLOGY
from provisioner.model.quantity import Quantity

QUICK_SECONDS = 15.0
SLOW_SECONDS = 60.0
PAGE = limits.DRIVER_PAGE_ENTRIES
LARGEST = (1 << 63) - 1
"""The largest size in bytes that a field of CSI can hold."""

CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", limits.DRIVER_ANSWER_BYTES),
)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """
    The fields of a CreateVolume request.

    `parameters` include the labels of the ownership record. `node` is the one that the scheduler chose; "" for none.
    """

    name: str
    required_bytes: int
    capabilities: Sequence[csi_pb2.VolumeCapability]
    parameters: Mapping[str, str]
    mutable_parameters: Mapping[str, str] = field(default_factory=dict)
    node: str = ""


class State(enum.Enum):
    """The state of a CreateVolume call after an error. Source: external-provisioner's code."""

    FINISHED = "finished"
    """No volume was created and no call is in progress; retry with backoff."""
    BACKGROUND = "background"
    """The call may still be in progress: repeat it with the same name until a final response."""
    RESCHEDULE = "reschedule"
    """The node has no free capacity: let the scheduler choose another one."""
    INFEASIBLE = "infeasible"
    """The request cannot succeed as it is; retry with a long delay."""


_BACKGROUND = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNKNOWN,
    }
)


_UNFINISHED = _BACKGROUND | {grpc.StatusCode.RESOURCE_EXHAUSTED}
_INFEASIBLE = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.NOT_FOUND})


class RpcError(ExpectedError):
    """An error status of a driver's RPC; `message` is the driver's."""

    def __init__(self, *, code: grpc.StatusCode, message: str, node_selected: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.state = _state(code, node_selected=node_selected)

    @property
    def final(self) -> bool:
        """
        Whether a change of a volume has ended: it is not in progress any more, and another one may begin.

        Source: external-resizer, pkg/util (IsFinalError).
        """
        return self.code not in _UNFINISHED

    @property
    def infeasible(self) -> bool:
        """
        Whether a change of a volume would be refused again with the same parameters.

        Source: external-resizer, pkg/util (IsInfeasibleError); kubelet has the same.
        """
        return self.code in _INFEASIBLE


class VolumeNotFoundError(RpcError):
    """NOT_FOUND: the volume, pool or trash entry does not exist."""


class FormerVolumeError(RpcError):
    """FAILED_PRECONDITION of the fence: the claim has a former volume, so no volume was created for it."""

    def __init__(self, handle: str, *, in_trash: bool) -> None:
        where = "in the trash" if in_trash else "retained"
        super().__init__(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            message=f"this claim has a former volume, {handle}, which is {where}; no empty volume is created",
        )
        self.handle = handle


class DriverUnavailable(RpcError):  # gRPC's name
    """UNAVAILABLE: the driver does not respond now; it is restarted without an admin's help."""


@dataclass(frozen=True, slots=True)
class Created:
    """The response of CreateVolume."""

    handle: str
    capacity_bytes: int
    context: Mapping[str, str]

    @property
    def pool_uuid(self) -> str:
        """The UUID of the volume's pool, the first part of the handle."""
        return self.handle.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Expanded:
    """The response of ControllerExpandVolume; `node_expansion_required`: NodeExpandVolume has to follow."""

    capacity_bytes: int
    node_expansion_required: bool


class DriverClient:
    """
    The client of the driver at `endpoint`. Create it inside a running event loop, and close it.

    A unix socket needs no credentials. `options` are gRPC channel options, in addition to CHANNEL_OPTIONS.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        options = (*CHANNEL_OPTIONS, *options)
        self._channel = (
            # limit: driver-answer-bytes
            grpc.aio.insecure_channel(endpoint, options=options)
            if credentials is None
            # limit: driver-answer-bytes
            else grpc.aio.secure_channel(endpoint, credentials, options=options)
        )
        self._controller = csi_pb2_grpc.ControllerStub(self._channel)
        self._inventory = inventory_pb2_grpc.InventoryStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def create_volume(self, desired: VolumeRequest) -> Created:
        """Create the volume of this name, or return the existing one. Raise RpcError."""
        topology = csi_pb2.Topology(segments={NODE_TOPOLOGY: desired.node})
        topology_requirement = (
            csi_pb2.TopologyRequirement(requisite=[topology], preferred=[topology]) if desired.node else None
        )
        request = csi_pb2.CreateVolumeRequest(
            name=desired.name,
            capacity_range=_at_least(desired.required_bytes),
            volume_capabilities=list(desired.capabilities),
            parameters=dict(desired.parameters),
            mutable_parameters=dict(desired.mutable_parameters),
            accessibility_requirements=topology_requirement,
        )
        selected = bool(desired.node)
        answer = await call(self._controller.CreateVolume, request, seconds=SLOW_SECONDS, node_selected=selected)
        volume = answer.volume
        return Created(
            handle=volume.volume_id,
            capacity_bytes=volume.capacity_bytes or desired.required_bytes,
            context=dict(volume.volume_context),
        )

    async def delete_volume(self, handle: str) -> None:
        """Move the volume to the trash; succeed for a volume that does not exist. Raise RpcError."""
        request = csi_pb2.DeleteVolumeRequest(volume_id=handle)
        await call(self._controller.DeleteVolume, request, seconds=SLOW_SECONDS)

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """Expand the volume to at least `required_bytes`, which may be its size already. Raise RpcError."""
        request = csi_pb2.ControllerExpandVolumeRequest(
            volume_id=handle,
            capacity_range=_at_least(required_bytes),
            volume_capability=capability,
        )
        answer = await call(self._controller.ControllerExpandVolume, request, seconds=SLOW_SECONDS)
        return Expanded(answer.capacity_bytes or required_bytes, answer.node_expansion_required)

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """Set the volume's mutable parameters; idempotent. Raise RpcError."""
        request = csi_pb2.ControllerModifyVolumeRequest(volume_id=handle, mutable_parameters=dict(parameters))
        await call(self._controller.ControllerModifyVolume, request, seconds=SLOW_SECONDS)

    async def list_pools(self) -> "list[inventory_pb2.Pool]":
        """Return the driver's pools, healthy or not. Raise RpcError."""
        answer = await call(self._inventory.ListPools, inventory_pb2.ListPoolsRequest(), seconds=QUICK_SECONDS)
        return list(answer.pools)

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """Return the manifests whose holder has all of these labels. Raise RpcError."""
        request = inventory_pb2.ListManifestsRequest(labels=dict(labels or {}), page_size=PAGE)
        return [each async for page in self._pages(self._inventory.ListManifests, request) for each in page.manifests]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """Return the trashed volumes whose last holder has all of these labels. Raise RpcError."""
        request = inventory_pb2.ListTrashRequest(labels=dict(labels or {}), page_size=PAGE)
        return [each async for page in self._pages(self._inventory.ListTrash, request) for each in page.entries]

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """Write the current holder into the volume's manifest; idempotent. Raise RpcError."""
        holder = inventory_pb2.Holder(labels=dict(labels))
        request = inventory_pb2.RecordHolderRequest(volume_id=handle, holder=holder)
        await call(self._inventory.RecordHolder, request, seconds=QUICK_SECONDS)

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """Restore the newest trash entry of that handle. Raise RpcError, ALREADY_EXISTS when the volume exists."""
        request = inventory_pb2.UndeleteRequest(volume_id=handle)
        answer = await call(self._inventory.Undelete, request, seconds=SLOW_SECONDS)
        return answer.manifest

    async def import_volume(
        self, *, name: str, item: str, pool: str, required_bytes: int, raw: bool, labels: Mapping[str, str]
    ) -> "inventory_pb2.Manifest":
        """Create a volume from an item in a pool's folder ``import``; idempotent. Raise RpcError."""
        request = inventory_pb2.ImportRequest(
            name=name,
            item=item,
            pool=pool,
            required_bytes=required_bytes,
            raw=raw,
            holder=inventory_pb2.Holder(labels=dict(labels)),
        )
        answer = await call(self._inventory.Import, request, seconds=SLOW_SECONDS)
        return answer.manifest

    async def used_at(self, handle: str) -> str:
        """Return a path at which the volume is in use on its node, "" for none. Raise RpcError."""
        request = inventory_pb2.GetUseRequest(volume_id=handle)
        answer = await call(self._inventory.GetUse, request, seconds=QUICK_SECONDS)
        return str(answer.path)

    async def purge(self, handle: str = "", *, deleted_before: int | None = None) -> int:
        """
        Purge one trashed volume, or all of them; return the number purged. Raise RpcError.

        `deleted_before`, in unix seconds: only volumes that were deleted before that moment, or in that second.
        """
        moment = timestamp_pb2.Timestamp(seconds=deleted_before) if deleted_before is not None else None
        request = inventory_pb2.PurgeRequest(volume_id=handle, all=not handle, deleted_before=moment)
        answer = await call(self._inventory.Purge, request, seconds=SLOW_SECONDS)
        return int(answer.purged)

    async def _pages(self, method: Callable[..., Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
        for _ in range(limits.DRIVER_PAGES):
            answer = await call(method, request, seconds=QUICK_SECONDS)
            yield answer
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token
        message = f"the driver's list does not end within {limits.DRIVER_PAGES} pages; check the driver's log"
        raise RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message=message)


async def call(
    method: Callable[..., Awaitable[Answer]], request: Any, *, seconds: float, node_selected: bool = False
) -> Answer:
    """Make one unary call with a deadline in seconds. Raise RpcError or a subclass."""
    try:
        return await method(request, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        code = error.code()
        kind = {grpc.StatusCode.NOT_FOUND: VolumeNotFoundError, grpc.StatusCode.UNAVAILABLE: DriverUnavailable}.get(
            code, RpcError
        )
        message = error.details() or f"the driver responded with {code.name}"
        raise kind(code=code, message=message, node_selected=node_selected) from None


def _at_least(size: int) -> csi_pb2.CapacityRange:
    """Return the size as a CSI capacity range. Raise RpcError, OUT_OF_RANGE for a size that CSI cannot hold."""
    if size > LARGEST:
        raise RpcError(
            code=grpc.StatusCode.OUT_OF_RANGE,
            message=f"{Quantity.of_bytes(size).readable()} is larger than any volume can be; request less",
        )
    return csi_pb2.CapacityRange(required_bytes=size)


def _state(code: grpc.StatusCode, *, node_selected: bool) -> State:
    if code in _BACKGROUND:
        return State.BACKGROUND
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and node_selected:
        return State.RESCHEDULE
    return State.INFEASIBLE if code is grpc.StatusCode.INVALID_ARGUMENT else State.FINISHED


_ACCESS = {
    # Kubernetes' mapping for a driver that distinguishes the two SINGLE_NODE modes.
    "ReadWriteOnce": "SINGLE_NODE_MULTI_WRITER",
    "ReadOnlyMany": "MULTI_NODE_READER_ONLY",
    "ReadWriteMany": "MULTI_NODE_MULTI_WRITER",
    "ReadWriteOncePod": "SINGLE_NODE_SINGLE_WRITER",
}


def capability(
    *, modes: Sequence[str], volume_mode: str, fs_type: str, mount_flags: Sequence[str]
) -> csi_pb2.VolumeCapability:
    """Return the CSI capability of a claim: its first access mode, as kubelet sends it, and its volume mode."""
    first = _ACCESS.get(modes[0], "UNKNOWN") if modes else "UNKNOWN"
    mode = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.Mode.Value(first))
    if volume_mode == "Block":
        return csi_pb2.VolumeCapability(access_mode=mode, block=csi_pb2.VolumeCapability.BlockVolume())
    mount = csi_pb2.VolumeCapability.MountVolume(fs_type=fs_type, mount_flags=list(mount_flags))
    return csi_pb2.VolumeCapability(access_mode=mode, mount=mount)
