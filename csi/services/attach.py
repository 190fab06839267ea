"""
A mode only for tests: volumes are attached to the node before they are staged.

It has no effect on the machine, since a local volume is always on its node. It exists so that all of csi-sanity can be
run; the shipped CSIDriver has attachRequired: false. The attachments are lost when the driver stops.
"""

from typing import Final

from csi.errors import AlreadyExists, NotFound, ResourceExhausted
from csi.services import checks
from csi.services.controller import Controller
from csi.services.edge import rpc
from csi.v1 import csi_pb2
from csi.volumes.requests import Capability
from csi.volumes.volume_manager import VolumeManager

_RPCS: Final = (
    csi_pb2.ControllerServiceCapability.RPC.PUBLISH_UNPUBLISH_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.PUBLISH_READONLY,
)


class AttachingController(Controller):
    """The Controller service, with attachments."""

    rpcs = (*Controller.rpcs, *_RPCS)

    def __init__(self, manager: VolumeManager, *, max_volumes: int) -> None:
        super().__init__(manager)
        self._max_volumes = max_volumes
        self._attached: dict[str, tuple[Capability, bool]] = {}

    @rpc
    async def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        """Record the attachment and its capability."""
        handle = checks.text(request.volume_id, "volume_id")
        node = checks.text(request.node_id, "node_id")
        capability = checks.capability(request.volume_capability, present=request.HasField("volume_capability"))
        self._manager.find(handle)
        if node != self._manager.node_id:
            raise NotFound(f"node {node} is not this one, which is {self._manager.node_id}")
        requested = (capability, request.readonly)
        attached = self._attached.get(handle, requested)
        if attached != requested:
            raise AlreadyExists(
                f"volume {handle} is attached to {node} with another capability or readonly; detach it first"
            )
        if handle not in self._attached and len(self._attached) >= self._max_volumes:
            raise ResourceExhausted(f"node {node} has its maximum of {self._max_volumes} volumes; detach one")
        self._attached[handle] = requested
        return csi_pb2.ControllerPublishVolumeResponse()

    @rpc
    async def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        """Remove the attachment; a volume that is not attached, or does not exist, is no error."""
        handle = checks.text(request.volume_id, "volume_id")
        if request.node_id in {"", self._manager.node_id}:
            self._attached.pop(handle, None)
        return csi_pb2.ControllerUnpublishVolumeResponse()
