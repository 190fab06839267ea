"""
A mode for tests alone: volumes are attached to the node before they are staged.

Nothing is done by it, for a local volume is where its disk is. It exists so that the whole of csi-sanity can be run;
the shipped CSIDriver says that no attachment is needed. What is attached is forgotten when the driver stops.
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
    """The controller, with attachments."""

    rpcs = (*Controller.rpcs, *_RPCS)

    def __init__(self, manager: VolumeManager, *, max_volumes: int) -> None:
        super().__init__(manager)
        self._max_volumes = max_volumes
        self._attached: dict[str, tuple[Capability, bool]] = {}

    @rpc
    async def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        """Remember that it is attached, and how."""
        handle = checks.text(request.volume_id, "volume_id")
        node = checks.text(request.node_id, "node_id")
        capability = checks.capability(request.volume_capability, present=request.HasField("volume_capability"))
        self._manager.find(handle)
        if node != self._manager.node_id:
            raise NotFound(f"node {node} is not this one, which is {self._manager.node_id}")
        requested = (capability, request.readonly)
        attached = self._attached.get(handle, requested)
        if attached != requested:
            raise AlreadyExists(f"volume {handle} is attached to {node} in another way; detach it first")
        if handle not in self._attached and len(self._attached) >= self._max_volumes:
            raise ResourceExhausted(f"node {node} takes {self._max_volumes} volumes and has them; detach one")
        self._attached[handle] = requested
        return csi_pb2.ControllerPublishVolumeResponse()

    @rpc
    async def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        """Forget it; one that is not attached, or does not exist, is fine."""
        handle = checks.text(request.volume_id, "volume_id")
        if request.node_id in {"", self._manager.node_id}:
            self._attached.pop(handle, None)
        return csi_pb2.ControllerUnpublishVolumeResponse()
