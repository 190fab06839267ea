"""Identity: who we are, what we can do, and whether we are well."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from google.protobuf import wrappers_pb2

from csi.services.edge import rpc
from csi.v1 import csi_pb2, csi_pb2_grpc

NAME: Final = "csi.mooring.dev"
_SERVICES: Final = (
    csi_pb2.PluginCapability.Service.CONTROLLER_SERVICE,
    csi_pb2.PluginCapability.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS,
)


class Identity(csi_pb2_grpc.IdentityServicer):
    """Answers from constants, so that it answers whatever else is going on."""

    @rpc
    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest) -> csi_pb2.GetPluginInfoResponse:
        """Name and version."""
        return csi_pb2.GetPluginInfoResponse(name=NAME, vendor_version=vendor_version())

    @rpc
    async def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """The optional services."""
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                csi_pb2.PluginCapability(service=csi_pb2.PluginCapability.Service(type=each)) for each in _SERVICES
            ]
        )

    @rpc
    async def Probe(self, request: csi_pb2.ProbeRequest) -> csi_pb2.ProbeResponse:
        """The socket is opened only when everything is loaded: whoever gets here finds it ready."""
        return csi_pb2.ProbeResponse(ready=wrappers_pb2.BoolValue(value=True))


def vendor_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("mooring-csi")
    except PackageNotFoundError:
        return "unknown"
