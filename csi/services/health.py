"""Health as CSI 1.13 words it."""

from csi.backends.protocol import HealthIssue
from csi.v1 import csi_pb2
from csi.volumes.volume_manager import VolumeManager


async def health_of(handle: str, manager: VolumeManager, *, measured_before: bool = False) -> csi_pb2.VolumeHealth:
    """One volume: no entries when it is well. Raises NotFound."""
    entries: dict[tuple[str, str], csi_pb2.VolumeHealth.VolumeHealthEntry] = {}
    for each in await manager.health(handle, measured_before=measured_before):
        status = csi_pb2.VolumeHealthErrorType.Value(each.status)
        entry = csi_pb2.VolumeHealth.VolumeHealthEntry(status=status, reason=each.reason, message=each.message)
        entries.setdefault(_kind(each), entry)  # CSI wants each status and reason once
    return csi_pb2.VolumeHealth(volume_id=handle, health_statuses=entries.values())


async def storage_health(manager: VolumeManager) -> list[csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth]:
    """All pools: nothing when they are well."""
    answer = csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth
    found: dict[tuple[str, str], HealthIssue] = {}
    for each in await manager.storage_health():
        found.setdefault(_kind(each), each)
    return [
        answer(status=csi_pb2.StorageHealthErrorType.Value(each.status), reason=each.reason, message=each.message)
        for each in found.values()
    ]


def _kind(issue: HealthIssue) -> tuple[str, str]:
    return issue.status, issue.reason
