"""The codes that each RPC of the driver may return."""

from typing import Final

_ALWAYS: Final = {"OK", "INVALID_ARGUMENT"}
_ONE_VOLUME: Final = _ALWAYS | {"NOT_FOUND", "ABORTED"}
CODES: Final[dict[str, set[str]]] = {
    "GetPluginInfo": {"OK"},
    "GetPluginCapabilities": {"OK"},
    "Probe": {"OK"},
    "ControllerGetCapabilities": {"OK"},
    "NodeGetCapabilities": {"OK"},
    "NodeGetInfo": {"OK"},
    "NodeGetStorageHealth": {"OK"},
    "ListPools": {"OK"},
    "CreateVolume": _ALWAYS
    | {"ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "ABORTED", "UNAVAILABLE", "FAILED_PRECONDITION"},
    "DeleteVolume": _ALWAYS | {"FAILED_PRECONDITION", "ABORTED"},
    "ValidateVolumeCapabilities": _ONE_VOLUME,
    "ListVolumes": _ALWAYS | {"ABORTED"},
    "ControllerListVolumeHealth": _ALWAYS | {"ABORTED"},
    "ListManifests": _ALWAYS | {"ABORTED"},
    "ListTrash": _ALWAYS | {"ABORTED"},
    "ControllerGetVolume": _ONE_VOLUME,
    "ControllerGetVolumeHealth": _ONE_VOLUME,
    "NodeGetVolumeHealth": _ONE_VOLUME,
    "GetCapacity": _ALWAYS,
    "ControllerExpandVolume": _ONE_VOLUME
    | {"FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"},
    "ControllerModifyVolume": _ONE_VOLUME,
    "NodeStageVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"},
    "NodeUnstageVolume": _ONE_VOLUME | {"FAILED_PRECONDITION"},
    "NodePublishVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"},
    "NodeUnpublishVolume": _ONE_VOLUME | {"FAILED_PRECONDITION"},
    "NodeGetVolumeStats": _ONE_VOLUME,
    "NodeExpandVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "OUT_OF_RANGE"},
    "GetUse": _ONE_VOLUME,
    "RecordHolder": _ONE_VOLUME,
    "Undelete": _ONE_VOLUME | {"ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "UNAVAILABLE"},
    "Import": _ONE_VOLUME
    | {"ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"},
    "Purge": _ALWAYS | {"ABORTED"},
}
