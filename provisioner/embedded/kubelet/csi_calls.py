"""Call CSI's Node service, as kubelet does in a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from csi.v1 import csi_pb2, csi_pb2_grpc
from provisioner.drivers.client import CHANNEL_OPTIONS, call

SECONDS = 120.0
"""The timeout of each of these calls, the same as kubelet's."""


@dataclass(frozen=True, slots=True)
class Mounting:
    """One volume to mount for one pod."""

    handle: str
    staging: Path
    target: Path
    capability: csi_pb2.VolumeCapability
    context: Mapping[str, str]
    read_only: bool


class NodeCalls:
    """
    The client of the Node service. Create it inside a running event loop, and close it.

    All calls raise RpcError.
    """

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        self._node = csi_pb2_grpc.NodeStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def stage(self, mounting: Mounting) -> None:
        """Stage the volume on this node."""
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=mounting.handle,
            staging_target_path=str(mounting.staging),
            volume_capability=mounting.capability,
            volume_context=dict(mounting.context),
        )
        await call(self._node.NodeStageVolume, request, seconds=SECONDS)

    async def publish(self, mounting: Mounting) -> None:
        """Publish the staged volume at the pod's path."""
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=mounting.handle,
            staging_target_path=str(mounting.staging),
            target_path=str(mounting.target),
            volume_capability=mounting.capability,
            volume_context=dict(mounting.context),
            readonly=mounting.read_only,
        )
        await call(self._node.NodePublishVolume, request, seconds=SECONDS)

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        """Expand the filesystem of a staged and published volume; idempotent."""
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=mounting.handle,
            volume_path=str(mounting.target),
            staging_target_path=str(mounting.staging),
            capacity_range=csi_pb2.CapacityRange(required_bytes=required_bytes),
            volume_capability=mounting.capability,
        )
        await call(self._node.NodeExpandVolume, request, seconds=SECONDS)

    async def unpublish(self, *, handle: str, target: Path) -> None:
        """Unpublish the volume from the pod's path; idempotent."""
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(target))
        await call(self._node.NodeUnpublishVolume, request, seconds=SECONDS)

    async def unstage(self, *, handle: str, staging: Path) -> None:
        """Unstage the volume from this node; idempotent."""
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=str(staging))
        await call(self._node.NodeUnstageVolume, request, seconds=SECONDS)
