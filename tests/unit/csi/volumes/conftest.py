"""Pools on disks of their own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi.host import mounts
from csi.volumes.pools import make_pool
from tests.unit.csi.services.kinds import disk
from tests.unit.csi.volumes.pool_disk import PoolDisk


@pytest.fixture
def pool_disk(tmp_path: Path) -> Iterator[PoolDisk]:
    """Return a pool on a tmpfs. Everything below is unmounted at the end."""
    base_dir = tmp_path.resolve()
    for name in ("disk", "staging", "state"):
        (base_dir / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(base_dir / "disk")], check=True)
    try:
        yield PoolDisk(base_dir, make_pool(base_dir / "disk", name="p", capacity_bytes=None, known={}))
    finally:
        for mount in reversed(mounts.table()):
            if mount.target.is_relative_to(base_dir):
                subprocess.run(["umount", "-l", str(mount.target)], check=False)


@pytest.fixture
def xfs_disk(tmp_path: Path) -> Iterator[PoolDisk]:
    """Return a pool on xfs, which can be shut down as after an I/O error."""
    base_dir = tmp_path.resolve()
    for name in ("staging", "state"):
        (base_dir / name).mkdir()
    with disk(base_dir / "disk", "xfs", 320 << 20):
        try:
            yield PoolDisk(base_dir, make_pool(base_dir / "disk", name="p", capacity_bytes=None, known={}))
        finally:
            for mount in reversed(mounts.table()):
                if mount.target.is_relative_to(base_dir / "staging") or mount.target.is_relative_to(
                    base_dir / "target"
                ):
                    subprocess.run(["umount", "-l", str(mount.target)], check=False)
