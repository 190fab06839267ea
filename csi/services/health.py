"""Health of volumes and pools in the messages of CSI 1.13."""

from csi.backends.protocol import HealthIssue
from csi.v1 import csi_pb2
from csi.volumes.volume_manager import VolumeManager


async def health_of(handle: str, manager: VolumeManager, *, measured_before: bool = False) -> csi_pb2.VolumeHealth:
    """Return the health of one volume, without entries if it is healthy. Raises NotFound."""
    entries: dict[tuple[str, str], csi_pb2.VolumeHealth.VolumeHealthEntry] = {}
    for each in await manager.health(handle, measured_before=measured_before):
        status = csi_pb2.VolumeHealthErrorType.Value(each.status)
        entry = csi_pb2.VolumeHealth.VolumeHealthEntry(status=status, reason=each.reason, message=each.message)
        entries.setdefault(_kind(each), entry)  # CSI requires each status and reason at most once
    return csi_pb2.VolumeHealth(volume_id=handle, health_statuses=entries.values())


async def storage_health(manager: VolumeManager) -> list[csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth]:
    """Return the health of all pools, without entries if they are healthy."""
    entry = csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth
    found: dict[tuple[str, str], HealthIssue] = {}
    for each in await manager.storage_health():
        found.setdefault(_kind(each), each)
    return [
        entry(status=csi_pb2.StorageHealthErrorType.Value(each.status), reason=each.reason, message=each.message)
        for each in found.values()
    ]


def _kind(issue: HealthIssue) -> tuple[str, str]:
    return issue.status, issue.reason
