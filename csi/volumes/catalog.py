"""All volumes of all pools in memory; a disk is read once, when its pool is admitted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from csi.backends.protocol import Backend
from csi.volumes import manifest as manifests
from csi.volumes.manifest import DamagedError, Manifest
from csi.volumes.node_record import NodeRecord, read_record
from csi.volumes.pools import Pool
from csi.volumes.volume_ids import Handle, parse_handle

log = structlog.get_logger()


@dataclass(slots=True)
class Entry:
    """A volume: its present manifest, and where this node has it mounted."""

    pool: Pool
    manifest: Manifest
    record: NodeRecord = field(default_factory=NodeRecord)

    @property
    def volume_dir(self) -> Path:
        """The volume's directory."""
        return self.pool.volumes / self.manifest.id


@dataclass(frozen=True, slots=True)
class Contents:
    """The volumes that were read from a pool's disk."""

    entries: list[Entry] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


def read_contents(pool: Pool, *, backends: Mapping[str, Backend]) -> Contents:
    """
    Read all manifests. An invalid one makes its own volume damaged, and no other.

    Raises OSError where the pool itself cannot be read. `backends` are those of this driver, by name.
    """
    contents = Contents()
    for volume_dir in sorted(pool.volumes.iterdir()):
        try:
            contents.entries.append(Entry(pool, _trusted(volume_dir, pool, backends), read_record(volume_dir)))
        except FileNotFoundError:
            continue  # an intent that was never written: no bytes were reserved
        except (DamagedError, OSError) as error:
            contents.damaged[volume_dir] = str(error)
    return contents


def _trusted(volume_dir: Path, pool: Pool, backends: Mapping[str, Backend]) -> Manifest:
    """Return a valid manifest. Raises DamagedError, and FileNotFoundError for an empty directory."""
    if volume_dir.is_symlink():
        raise DamagedError(f"{volume_dir} is a link, which is not followed; move the volume's directory there")
    try:
        found = manifests.read(volume_dir)
    except FileNotFoundError:
        if any(os.path.lexists(volume_dir / name) for name in {each.data_name for each in backends.values()}):
            raise DamagedError(
                f"{volume_dir / manifests.FILE} is missing, and there is data beside it; restore it"
            ) from None
        raise
    if found.id != volume_dir.name or found.pool != pool.uuid or parse_handle(found.handle) is None:
        raise DamagedError(f"{volume_dir} holds the manifest of volume {found.handle}; move it back to its place")
    if found.backend not in backends:
        raise DamagedError(
            f"{volume_dir} has backend {found.backend[:40]}; this driver has {', '.join(sorted(backends))}"
        )
    backend = backends[found.backend]
    if found.fs_type not in {"", *backend.fs_types()} or found.access_type not in backend.access_types:
        raise DamagedError(
            f"{volume_dir}: backend {backend.name} has no {found.access_type} volume with {found.fs_type[:40]!r}"
        )
    return found


class Catalog:
    """Volumes by handle. Used on the event loop only."""

    def __init__(self) -> None:
        self.pools: tuple[Pool, ...] = ()
        self.missing_pools: dict[str, str] = {}
        """UUIDs of the pools whose disk is missing → the problem."""
        self.unresponsive: dict[str, str] = {}
        """UUIDs of the pools whose disk hangs → the problem; their volumes stay in the catalog."""
        self.damaged: dict[Path, str] = {}
        self.refused: dict[Path, str] = {}
        """Paths of pools that are not served → the problem."""
        self.unremovable: set[Path] = set()
        """Entries of the trash that could not be removed, whose bytes are not free."""
        self._entries: dict[str, Entry] = {}

    @property
    def available_pools(self) -> tuple[Pool, ...]:
        """The pools whose disk is available."""
        return tuple(pool for pool in self.present_pools if pool.uuid not in self.unresponsive)

    @property
    def present_pools(self) -> tuple[Pool, ...]:
        """The pools whose disk is present, whether it hangs or not."""
        return tuple(pool for pool in self.pools if pool.uuid not in self.missing_pools)

    def admit(self, pool: Pool, contents: Contents) -> None:
        """Add a pool and its volumes; a former one of the same UUID is replaced, except for volumes in use."""
        self.pools = (*(each for each in self.pools if each.uuid != pool.uuid), pool)
        self.missing_pools.pop(pool.uuid, None)
        self.unresponsive.pop(pool.uuid, None)
        for volume_dir, problem in contents.damaged.items():
            if self.damaged.get(volume_dir) != problem:
                log.error("volume.damaged", path=str(volume_dir), problem=problem)
        read = {volume_dir: each for volume_dir, each in self.damaged.items() if volume_dir.parent != pool.volumes}
        self.damaged = read | contents.damaged
        for entry in contents.entries:
            if entry.manifest.handle not in self._entries:
                self.put(entry)

    def lose(self, pool: Pool, problem: str) -> None:
        """Mark a pool whose disk is missing; only volumes that are mounted on this node stay in the catalog."""
        self.missing_pools[pool.uuid] = problem
        for entry in self.of_pool(pool):
            if not entry.record.staging and not entry.record.publications:
                self.drop(entry.manifest.handle)

    def get(self, handle: str) -> Entry | None:
        """Return the volume of this handle; None also for a malformed handle."""
        parsed = parse_handle(handle)
        return self._entries.get(str(parsed)) if parsed else None

    def of_id(self, volume_id: str) -> Entry | None:
        """Return the volume of this id, in any pool."""
        candidates = (self._entries.get(str(Handle(pool.uuid, volume_id))) for pool in self.pools)
        return next((entry for entry in candidates if entry is not None), None)

    def put(self, entry: Entry) -> None:
        """Add a volume."""
        self._entries[entry.manifest.handle] = entry

    def drop(self, handle: str) -> None:
        """Remove a volume."""
        self._entries.pop(handle, None)

    def all(self) -> list[Entry]:
        """Return all volumes, ready or not, sorted by handle."""
        return [self._entries[handle] for handle in sorted(self._entries)]

    def of_pool(self, pool: Pool) -> list[Entry]:
        """Return the volumes of one pool."""
        return [entry for entry in self._entries.values() if entry.pool.uuid == pool.uuid]

    def problem_at(self, pool: Pool, volume_id: str) -> str:
        """Return why no volume can be created in this directory; "" when it can."""
        return self.damaged.get(pool.volumes / volume_id, "")
