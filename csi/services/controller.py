"""Controller service: creates, deletes, expands and lists volumes."""

from typing import Final

from google.protobuf import wrappers_pb2

from csi import limits
from csi.errors import InvalidArgument, NotFound
from csi.services import checks
from csi.services.edge import rpc
from csi.services.health import health_of
from csi.v1 import csi_pb2, csi_pb2_grpc
from csi.volumes import mount_options
from csi.volumes.catalog import Entry
from csi.volumes.creation import unsupported
from csi.volumes.paging import page
from csi.volumes.requests import Creation, Expanding, Parameters, mutable_parameters
from csi.volumes.volume_manager import VolumeManager

TOPOLOGY: Final = "topology.mooring.dev/node"
_RPCS: Final = (
    csi_pb2.ControllerServiceCapability.RPC.CREATE_DELETE_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.LIST_VOLUMES,
    csi_pb2.ControllerServiceCapability.RPC.GET_CAPACITY,
    csi_pb2.ControllerServiceCapability.RPC.GET_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.MODIFY_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.GET_VOLUME_HEALTH,
    csi_pb2.ControllerServiceCapability.RPC.LIST_VOLUME_HEALTH,
    csi_pb2.ControllerServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)


class Controller(csi_pb2_grpc.ControllerServicer):
    """Checks requests, calls the volume manager, and builds responses."""

    rpcs: tuple[csi_pb2.ControllerServiceCapability.RPC.Type.ValueType, ...] = _RPCS

    def __init__(self, manager: VolumeManager) -> None:
        self._manager = manager

    @rpc
    async def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """Return the supported optional RPCs."""
        kind = csi_pb2.ControllerServiceCapability
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[kind(rpc=kind.RPC(type=each)) for each in self.rpcs]
        )

    @rpc
    async def CreateVolume(self, request: csi_pb2.CreateVolumeRequest) -> csi_pb2.CreateVolumeResponse:
        """Create a volume, or return the existing one of that name."""
        name = checks.text(request.name, "name")
        capabilities = checks.capabilities(request.volume_capabilities)
        if request.HasField("volume_content_source"):
            if request.volume_content_source.WhichOneof("type") is None:
                raise InvalidArgument("volume_content_source names no source")
            raise InvalidArgument("volumes cannot be created from a snapshot or another volume in this version")
        entry = await self._manager.create(
            Creation(
                name=name,
                required=request.capacity_range.required_bytes,
                limit=request.capacity_range.limit_bytes,
                capabilities=capabilities,
                parameters=Parameters.parse(checks.mapping(request.parameters, "parameters")),
                nodes=_nodes(request.accessibility_requirements),
                mutable=mutable_parameters(checks.mapping(request.mutable_parameters, "mutable_parameters")),
            )
        )
        return csi_pb2.CreateVolumeResponse(volume=volume_of(entry, self._manager))

    @rpc
    async def DeleteVolume(self, request: csi_pb2.DeleteVolumeRequest) -> csi_pb2.DeleteVolumeResponse:
        """Move a volume to the trash."""
        await self._manager.delete(checks.text(request.volume_id, "volume_id"))
        return csi_pb2.DeleteVolumeResponse()

    @rpc
    async def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """Confirm the capabilities only if all are supported."""
        volume_id = checks.text(request.volume_id, "volume_id")
        capabilities = checks.capabilities(request.volume_capabilities)
        checks.mapping(request.volume_context, "volume_context")
        checks.mapping(request.parameters, "parameters")
        manifest = self._manager.find(volume_id).manifest
        backend = self._manager.backend(manifest.backend)
        for each in capabilities:
            problem = unsupported(each, backend) or mount_options.refused(manifest.fs_type, each.flags)
            if not problem and each.access_type != manifest.access_type:
                problem = f"volume {volume_id} is a {manifest.access_type} volume"
            if problem:
                return csi_pb2.ValidateVolumeCapabilitiesResponse(message=problem)
        return csi_pb2.ValidateVolumeCapabilitiesResponse(
            confirmed=csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
                volume_context=request.volume_context,
                volume_capabilities=request.volume_capabilities,
                parameters=request.parameters,
            )
        )

    @rpc
    async def ListVolumes(self, request: csi_pb2.ListVolumesRequest) -> csi_pb2.ListVolumesResponse:
        """Return the ready volumes, by pages."""
        entries, token = page(
            self._manager.volumes(ready=True),
            key=lambda entry: entry.manifest.handle,
            size=request.max_entries,
            token=request.starting_token,
            render=lambda entry: csi_pb2.ListVolumesResponse.Entry(volume=volume_of(entry, self._manager)),
        )
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=token)

    @rpc
    async def ControllerGetVolume(
        self, request: csi_pb2.ControllerGetVolumeRequest
    ) -> csi_pb2.ControllerGetVolumeResponse:
        """Return one volume. Raises NotFound, also for one that is not ready."""
        entry = self._manager.find(checks.text(request.volume_id, "volume_id"))
        if entry.manifest.state != "ready":
            raise NotFound(f"volume {request.volume_id} is not completely created yet")
        return csi_pb2.ControllerGetVolumeResponse(
            volume=volume_of(entry, self._manager), status=csi_pb2.ControllerGetVolumeResponse.VolumeStatus()
        )

    @rpc
    async def GetCapacity(self, request: csi_pb2.GetCapacityRequest) -> csi_pb2.GetCapacityResponse:
        """Return the largest volume with these parameters that can be created now, in the pool with most capacity."""
        parameters = Parameters.parse(checks.mapping(request.parameters, "parameters"))
        backend = self._manager.backend(parameters.backend)
        elsewhere = request.HasField("accessible_topology") and (
            request.accessible_topology.segments.get(TOPOLOGY, self._manager.node_id) != self._manager.node_id
        )
        checks.few(request.volume_capabilities, limits.CAPABILITIES, "volume_capabilities")
        is_unsupported = any(unsupported(checks.capability(each), backend) for each in request.volume_capabilities)
        if elsewhere or is_unsupported or backend.problem():
            return csi_pb2.GetCapacityResponse(available_capacity=0)
        capacity = self._manager.available_bytes(parameters.pool)
        fs_type = parameters.fs_type or next(iter(backend.fs_types()), "")
        minimum = backend.minimum_bytes(fs_type) if not fs_type or fs_type in backend.fs_types() else 0
        return csi_pb2.GetCapacityResponse(
            available_capacity=capacity,
            maximum_volume_size=wrappers_pb2.Int64Value(value=capacity),
            minimum_volume_size=wrappers_pb2.Int64Value(value=minimum),
        )

    @rpc
    async def ControllerExpandVolume(
        self, request: csi_pb2.ControllerExpandVolumeRequest
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Expand a volume; a mounted one needs NodeExpandVolume, too, if the response requires it."""
        handle = checks.text(request.volume_id, "volume_id")
        if not (request.capacity_range.required_bytes or request.capacity_range.limit_bytes):
            raise InvalidArgument("capacity_range is missing")
        required, limit = request.capacity_range.required_bytes, request.capacity_range.limit_bytes
        manifest = (await self._manager.expand(Expanding(handle, required, limit))).manifest
        return csi_pb2.ControllerExpandVolumeResponse(
            capacity_bytes=manifest.size_bytes,
            node_expansion_required=self._manager.backend(manifest.backend).node_expansion_required,
        )

    @rpc
    async def ControllerModifyVolume(
        self, request: csi_pb2.ControllerModifyVolumeRequest
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        """Change the mutable parameters of a volume."""
        handle = checks.text(request.volume_id, "volume_id")
        self._manager.find(handle)
        parameters = checks.mapping(request.mutable_parameters, "mutable_parameters")
        await self._manager.modify(handle, mutable_parameters(parameters))
        return csi_pb2.ControllerModifyVolumeResponse()

    @rpc
    async def ControllerGetVolumeHealth(
        self, request: csi_pb2.ControllerGetVolumeHealthRequest
    ) -> csi_pb2.ControllerGetVolumeHealthResponse:
        """Return the health of one volume, also of a healthy one."""
        handle = checks.text(request.volume_id, "volume_id")
        return csi_pb2.ControllerGetVolumeHealthResponse(volume_health=await health_of(handle, self._manager))

    async def _health_if_exists(self, handle: str) -> csi_pb2.VolumeHealth | None:
        try:
            return await health_of(handle, self._manager, measured_before=True)
        except NotFound:
            return None  # it was deleted meanwhile

    @rpc
    async def ControllerListVolumeHealth(
        self, request: csi_pb2.ControllerListVolumeHealthRequest
    ) -> csi_pb2.ControllerListVolumeHealthResponse:
        """Return the health of the unhealthy volumes, by pages."""
        handles = [entry.manifest.handle for entry in self._manager.volumes(ready=True)]
        found = [each for handle in handles if (each := await self._health_if_exists(handle)) is not None]
        entries, token = page(
            [each for each in found if each.health_statuses],
            key=lambda each: each.volume_id,
            size=request.max_entries,
            token=request.starting_token,
            render=lambda each: each,
        )
        return csi_pb2.ControllerListVolumeHealthResponse(entries=entries, next_token=token)


def _nodes(requirement: csi_pb2.TopologyRequirement) -> tuple[str, ...] | None:
    """Return the nodes that a topology requirement allows; None if it is empty or an entry lacks the topology key."""
    checks.few(requirement.requisite, limits.TOPOLOGIES, "accessibility_requirements.requisite")
    checks.few(requirement.preferred, limits.TOPOLOGIES, "accessibility_requirements.preferred")
    segments = [each.segments for each in requirement.requisite] or [each.segments for each in requirement.preferred]
    if not segments or any(TOPOLOGY not in each for each in segments):
        return None
    return tuple(each[TOPOLOGY] for each in segments)


def context_of(entry: Entry) -> dict[str, str]:
    """Return the volume context: constant facts for people and programs."""
    return {
        "mooring.dev/backend": entry.manifest.backend,
        "mooring.dev/pool": entry.pool.name,
        "mooring.dev/size": "enforced" if entry.manifest.enforced else "accounted",
    }


def volume_of(entry: Entry, manager: VolumeManager) -> csi_pb2.Volume:
    """Return the volume as a CSI message."""
    return csi_pb2.Volume(
        volume_id=entry.manifest.handle,
        capacity_bytes=entry.manifest.size_bytes,
        volume_context=context_of(entry),
        accessible_topology=[csi_pb2.Topology(segments={TOPOLOGY: manager.node_id})],
    )
