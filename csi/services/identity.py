"""Identity service: the driver's name, version, capabilities and readiness."""

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
    """Responds from constants, so that no other call delays it."""

    @rpc
    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest) -> csi_pb2.GetPluginInfoResponse:
        """Return the driver's name and version."""
        return csi_pb2.GetPluginInfoResponse(name=NAME, vendor_version=vendor_version())

    @rpc
    async def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """Return the optional services."""
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                csi_pb2.PluginCapability(service=csi_pb2.PluginCapability.Service(type=each)) for each in _SERVICES
            ]
        )

    @rpc
    async def Probe(self, request: csi_pb2.ProbeRequest) -> csi_pb2.ProbeResponse:
        """Return ready: the socket is opened only after everything is loaded."""
        return csi_pb2.ProbeResponse(ready=wrappers_pb2.BoolValue(value=True))


def vendor_version() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("mooring-csi")
    except PackageNotFoundError:
        return "unknown"
