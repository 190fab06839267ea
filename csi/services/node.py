"""Node service: stages, publishes and expands volumes on this machine."""

from typing import Final

from csi.errors import FailedPrecondition, InvalidArgument, NotFound
from csi.services import checks
from csi.services.controller import TOPOLOGY
from csi.services.edge import rpc
from csi.services.health import health_of, storage_health
from csi.v1 import csi_pb2, csi_pb2_grpc
from csi.volumes.requests import Capability, Publishing, Staging
from csi.volumes.volume_manager import VolumeManager

_RPCS: Final = (
    csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_HEALTH,
    csi_pb2.NodeServiceCapability.RPC.GET_STORAGE_HEALTH,
    csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)


class Node(csi_pb2_grpc.NodeServicer):
    """Checks requests, calls the volume manager, and builds responses."""

    def __init__(self, manager: VolumeManager, *, max_volumes: int = 0) -> None:
        self._manager = manager
        self._max_volumes = max_volumes

    @rpc
    async def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """Return the supported optional RPCs."""
        kind = csi_pb2.NodeServiceCapability
        return csi_pb2.NodeGetCapabilitiesResponse(capabilities=[kind(rpc=kind.RPC(type=each)) for each in _RPCS])

    @rpc
    async def NodeGetInfo(self, request: csi_pb2.NodeGetInfoRequest) -> csi_pb2.NodeGetInfoResponse:
        """Return the node's name and topology."""
        topology = csi_pb2.Topology(segments={TOPOLOGY: self._manager.node_id})
        return csi_pb2.NodeGetInfoResponse(
            node_id=self._manager.node_id, accessible_topology=topology, max_volumes_per_node=self._max_volumes
        )

    @rpc
    async def NodeStageVolume(self, request: csi_pb2.NodeStageVolumeRequest) -> csi_pb2.NodeStageVolumeResponse:
        """Stage a volume."""
        await self._manager.stage(
            Staging(
                handle=checks.text(request.volume_id, "volume_id"),
                staging=checks.path(request.staging_target_path, "staging_target_path"),
                capability=_capability(request),
            )
        )
        return csi_pb2.NodeStageVolumeResponse()

    @rpc
    async def NodeUnstageVolume(self, request: csi_pb2.NodeUnstageVolumeRequest) -> csi_pb2.NodeUnstageVolumeResponse:
        """Unstage a volume."""
        handle = checks.text(request.volume_id, "volume_id")
        await self._manager.unstage(handle, checks.path(request.staging_target_path, "staging_target_path"))
        return csi_pb2.NodeUnstageVolumeResponse()

    @rpc
    async def NodePublishVolume(self, request: csi_pb2.NodePublishVolumeRequest) -> csi_pb2.NodePublishVolumeResponse:
        """Publish a staged volume at a target path."""
        handle = checks.text(request.volume_id, "volume_id")
        target = checks.path(request.target_path, "target_path")
        capability = _capability(request)
        self._manager.find(handle)
        if not request.staging_target_path:
            raise FailedPrecondition("staging_target_path is missing; the volume has to be staged first")
        read_only = request.readonly or "ro" in capability.flags or capability.mode == "SINGLE_NODE_READER_ONLY"
        staging = checks.path(request.staging_target_path, "staging_target_path")
        await self._manager.publish(Publishing(handle, staging, target, capability, read_only))
        return csi_pb2.NodePublishVolumeResponse()

    @rpc
    async def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Unpublish a volume from a target path."""
        handle = checks.text(request.volume_id, "volume_id")
        await self._manager.unpublish(handle, checks.path(request.target_path, "target_path"))
        return csi_pb2.NodeUnpublishVolumeResponse()

    @rpc
    async def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """Return capacity and inode usage of a mounted volume."""
        handle = checks.text(request.volume_id, "volume_id")
        usage = await self._manager.usage(handle, _mounted_path(handle, request.volume_path))
        entries = [
            csi_pb2.VolumeUsage(
                unit=csi_pb2.VolumeUsage.BYTES,
                total=usage.total_bytes,
                used=usage.used_bytes or 0,
                available=usage.available_bytes or 0,
            )
        ]
        if usage.total_inodes is not None:
            entries.append(
                csi_pb2.VolumeUsage(
                    unit=csi_pb2.VolumeUsage.INODES,
                    total=usage.total_inodes,
                    used=usage.used_inodes or 0,
                    available=usage.free_inodes or 0,
                )
            )
        return csi_pb2.NodeGetVolumeStatsResponse(usage=entries)

    @rpc
    async def NodeExpandVolume(self, request: csi_pb2.NodeExpandVolumeRequest) -> csi_pb2.NodeExpandVolumeResponse:
        """Expand the mounted filesystem or device to the volume's size."""
        handle = checks.text(request.volume_id, "volume_id")
        self._manager.find(handle)
        path = _mounted_path(handle, request.volume_path)
        required = checks.size(request.capacity_range.required_bytes, "required_bytes")
        limit = checks.size(request.capacity_range.limit_bytes, "limit_bytes")
        if limit and required > limit:
            raise InvalidArgument(f"required_bytes {required} is more than limit_bytes {limit}")
        manifest = await self._manager.node_expand(handle, path, required=required)
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=manifest.size_bytes)

    @rpc
    async def NodeGetVolumeHealth(
        self, request: csi_pb2.NodeGetVolumeHealthRequest
    ) -> csi_pb2.NodeGetVolumeHealthResponse:
        """Return the health of a volume on this node."""
        handle = checks.text(request.volume_id, "volume_id")
        return csi_pb2.NodeGetVolumeHealthResponse(volume_health=await health_of(handle, self._manager))

    @rpc
    async def NodeGetStorageHealth(
        self, request: csi_pb2.NodeGetStorageHealthRequest
    ) -> csi_pb2.NodeGetStorageHealthResponse:
        """Return the health of the pools."""
        return csi_pb2.NodeGetStorageHealthResponse(backend_health=await storage_health(self._manager))


def _mounted_path(handle: str, path: str) -> str:
    """Return the given path of the volume. Raises NotFound for a relative path, as where no volume is mounted."""
    if not path:
        raise InvalidArgument("volume_path is missing")
    if not path.startswith("/"):
        raise NotFound(f"volume {handle} is not mounted at {path}")
    return checks.path(path, "volume_path")


def _capability(
    request: csi_pb2.NodeStageVolumeRequest | csi_pb2.NodePublishVolumeRequest,
) -> Capability:
    return checks.capability(request.volume_capability, present=request.HasField("volume_capability"))
