"""Check the health of volumes and pools, without state and without changes."""

import os
from pathlib import Path
from typing import Final

from csi.backends.protocol import Backend, HealthIssue
from csi.host import files, mounts
from csi.host.errors import HostError
from csi.units import readable
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.manifest import UNREADABLE
from csi.volumes.pools import Pool, read_identity

FULL_SHARE: Final = 100
"""A pool is full when less than one part in so many of its disk is free."""


def of_pool(pool: Pool, catalog: Catalog) -> list[HealthIssue]:
    """Return the health issues of a pool: its disk, and the manifests on it."""
    if problem := location_problem(pool):
        return [HealthIssue("STORAGE_UNREACHABLE", "PoolGone", problem)]
    found = []
    mount = mounts.covering(pool.path)
    try:
        space, flags = files.filesystem_space(pool.path), os.statvfs(pool.path).f_flag
    except OSError as error:
        message = f"pool {pool.name} cannot be read: {error.strerror}; check its disk"
        return [HealthIssue("STORAGE_UNREACHABLE", "PoolFailing", message)]
    if flags & os.ST_RDONLY or (mount is not None and mount.stopped_writing):
        message = (
            f"pool {pool.name}: its disk at {pool.path} accepts no writes any more; check the kernel's log for errors"
        )
        found.append(HealthIssue("STORAGE_DEGRADED", "PoolReadOnly", message))
    if space.available * FULL_SHARE < space.total:
        message = f"pool {pool.name}: only {readable(space.available)} are free on its disk; free some, or add a pool"
        found.append(HealthIssue("STORAGE_DEGRADED", "PoolFull", message))
    damaged = [problem for volume_dir, problem in sorted(catalog.damaged.items()) if volume_dir.parent == pool.volumes]
    if damaged:
        message = f"pool {pool.name}: {len(damaged)} manifests cannot be read; the first: {damaged[0]}"
        found.append(HealthIssue("STORAGE_DEGRADED", "ManifestDamaged", message))
    return found


def of_refused(catalog: Catalog) -> list[HealthIssue]:
    """Report the pools that are not served, all in one: CSI wants each reason once."""
    problems = [problem for _, problem in sorted(catalog.refused.items())]
    if not problems:
        return []
    message = f"{len(problems)} pools are not served; the first: {problems[0]}"
    return [HealthIssue("STORAGE_UNREACHABLE", "PoolRefused", message)]


def of_volume(entry: Entry, backend: Backend, stored: int | None) -> list[HealthIssue]:
    """Return the health issues of a volume. `stored` are its bytes where its size is not enforced."""
    if problem := location_problem(entry.pool):
        return [HealthIssue("INACCESSIBLE", "PoolGone", problem)]
    staging = Path(entry.record.staging) if entry.record.staging else None
    size = entry.manifest.size_bytes
    try:
        found = backend.health_issues(entry.volume_dir, entry.manifest.shape, path=staging)
    except (OSError, HostError, ValueError) as error:
        message = f"{entry.volume_dir} cannot be read: {error}; check the disk of pool {entry.pool.name}"
        return [HealthIssue("INACCESSIBLE", "DiskFailing", message)]
    if stored is not None and stored > size:
        message = (
            f"{readable(stored, up=True)} are in it, and {readable(size)} are reserved; expand it, or remove something"
        )
        found.append(HealthIssue("DEGRADED", "SizeExceeded", message))
    return found


def location_problem(pool: Pool) -> str:
    """Return why the pool is not at its path, as one message; "" when it is."""
    try:
        identity = read_identity(pool.path)
    except UNREADABLE:
        return f"{pool.path} is not pool {pool.name} any more: its disk is not mounted, or broken; mount it again"
    if identity.uuid != pool.uuid:
        return f"{pool.path} is another pool now ({identity.uuid}); mount the disk of pool {pool.name} there again"
    return ""
