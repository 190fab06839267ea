"""What is wrong with volumes and pools, from looking at them: nothing is remembered, nothing is changed."""

import os
from pathlib import Path
from typing import Final

import msgspec

from csi.backends.protocol import Ailment, Backend
from csi.engine.catalog import Catalog, Entry
from csi.engine.pools import FILE, Identity, Pool
from csi.host import files

FULL_SHARE: Final = 100
"""A pool is full when less than one part in so many of its disk is free."""


def of_pool(pool: Pool, catalog: Catalog) -> list[Ailment]:
    """Its disk, and the manifests on it."""
    if problem := gone(pool):
        return [Ailment("STORAGE_UNREACHABLE", "PoolGone", problem)]
    found = []
    space = files.filesystem_space(pool.path)
    if os.statvfs(pool.path).f_flag & os.ST_RDONLY:
        message = (
            f"pool {pool.name}: its disk at {pool.path} takes no more writes; look for its errors in the kernel's log"
        )
        found.append(Ailment("STORAGE_DEGRADED", "PoolReadOnly", message))
    if space.available * FULL_SHARE < space.total:
        message = f"pool {pool.name}: only {space.available} bytes are free on its disk; free some, or add a pool"
        found.append(Ailment("STORAGE_DEGRADED", "PoolFull", message))
    damaged = [problem for home, problem in sorted(catalog.damaged.items()) if home.parent == pool.volumes]
    if damaged:
        message = f"pool {pool.name}: {len(damaged)} manifests cannot be read; the first: {damaged[0]}"
        found.append(Ailment("STORAGE_DEGRADED", "ManifestDamaged", message))
    return found


def of_volume(entry: Entry, backend: Backend) -> list[Ailment]:
    """Its pool, its bytes, and what is mounted of it."""
    if problem := gone(entry.pool):
        return [Ailment("INACCESSIBLE", "PoolGone", problem)]
    staging = Path(entry.record.staging) if entry.record.staging else None
    try:
        return backend.ailments(entry.home, entry.manifest.shape, path=staging)
    except OSError as error:
        message = f"{entry.home} cannot be read: {error.strerror}; look at the disk of pool {entry.pool.name}"
        return [Ailment("INACCESSIBLE", "DiskFailing", message)]


def gone(pool: Pool) -> str:
    """Why the pool is not where it was, in one sentence; "" when it is."""
    try:
        identity = msgspec.json.decode((pool.path / FILE).read_bytes(), type=Identity)
    except (OSError, msgspec.MsgspecError):
        return f"{pool.path} is not pool {pool.name} any more: its disk is not mounted, or broken; mount it again"
    if identity.uuid != pool.uuid:
        return f"{pool.path} is another pool now ({identity.uuid}); mount the disk of pool {pool.name} there again"
    return ""
