"""A pool on its own disk, which a test can fill, unmount or shut down, with paths to stage and publish at."""

import os
from dataclasses import dataclass
from pathlib import Path

from csi.backends import backends
from csi.host import mounts
from csi.volumes.pools import Pool
from csi.volumes.requests import Capability, Creation, Parameters, Publishing, Staging
from csi.volumes.volume_manager import VolumeManager

VOLUME = f"v-{os.getpid()}"
"""Of this process alone, as ids are of one volume alone: on a disk that fails a device is known by nothing else."""

MODE = "SINGLE_NODE_WRITER"


@dataclass
class PoolDisk:
    """A pool on its own disk (a tmpfs), and paths to stage and publish at."""

    base_dir: Path
    pool: Pool

    @property
    def staging(self) -> Path:
        """Return the staging path, which the caller created."""
        return self.base_dir / "staging"

    @property
    def target(self) -> Path:
        """Return the target path, which the driver creates."""
        return self.base_dir / "target"

    def manager(self, *pools: Pool) -> VolumeManager:
        """Return a volume manager after a start with these pools."""
        made = VolumeManager(
            backends=backends(), node_id="n", workers=2, purge_seconds=60, state=self.base_dir / "state"
        )
        made.load(pools)
        return made

    def mounted(self) -> set[str]:
        """Return the mounts below, without the pool's disk."""
        below = {str(each.target) for each in mounts.table() if each.target.is_relative_to(self.base_dir)}
        return below - {str(self.pool.path)}


async def mounted(
    manager: VolumeManager, pool_disk: PoolDisk, *, backend: str = "directory", access_type: str = "mount"
) -> str:
    """Stage and publish a volume; return its handle."""
    use = Capability(access_type, MODE)
    request = Creation(VOLUME, 16 << 20, 0, (use,), Parameters.parse({"backend": backend}))
    handle = (await manager.create(request)).manifest.handle
    await manager.stage(Staging(handle, str(pool_disk.staging), use))
    await manager.publish(Publishing(handle, str(pool_disk.staging), str(pool_disk.target), use, read_only=False))
    return handle


async def unmount(manager: VolumeManager, pool_disk: PoolDisk, handle: str) -> None:
    """Unpublish and unstage the volume, each twice: both calls are idempotent."""
    for _ in range(2):
        await manager.unpublish(handle, str(pool_disk.target))
    for _ in range(2):
        await manager.unstage(handle, str(pool_disk.staging))
