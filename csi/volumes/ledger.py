"""
The bytes that pools can still reserve: never more than they have (no overcommit).

The capacity of a pool is the configured one, or 95 % of what is free plus what its own volumes occupy. Until that is
measured, it is a lower bound of it, so that only a volume that does not fit into the bound waits for the measurement. A
pool that cannot be measured in time is quarantined: it reserves nothing more until it is, and its reservations stay.
Trash counts as free: it is purged when a volume needs the space. Trash that cannot be purged, or whose removal is not
known to have ended, counts as used. All in bytes.
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from csi.errors import OutOfRange, ResourceExhausted, Unavailable
from csi.host import files, trees
from csi.units import readable
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.pools import Pool
from csi.volumes.trash_names import PURGING, deleted_at

SHARE: Final = 95
"""The percentage of the disk that can be reserved; the rest is for the filesystem and other users of the disk."""


@dataclass(frozen=True, slots=True)
class Measured:
    """
    One measurement of a pool's disk.

    `free` is what an ordinary user can use, `used` what all files occupy. `stored` is by volume id, `trashed` by
    the entry's name. `complete` false is a lower bound, for which no tree was walked.
    """

    free: int
    used: int
    stored: dict[str, int] = field(default_factory=dict)
    trashed: dict[str, int] = field(default_factory=dict)
    complete: bool = True

    @property
    def trash(self) -> int:
        """The bytes of the whole trash."""
        return sum(self.trashed.values())

    @property
    def reachable(self) -> int:
        """The bytes that are free or of volumes; shared blocks count at most once."""
        return self.free + min(self.used, sum(self.stored.values()) + self.trash)


def lower_bound(pool: Pool) -> Measured:
    """Measure without a walk: trees and trash as nothing, images by their blocks. Raises OSError."""
    space = files.filesystem_space(pool.path)
    images = {volume_dir.name: _image_bytes(volume_dir / "image") for volume_dir in pool.volumes.iterdir()}
    return Measured(space.available, space.total - space.free, images, complete=False)


def _image_bytes(image: Path) -> int:
    try:
        found = image.lstat()
    except OSError:
        return 0
    return found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else 0


def measure(pool: Pool, *, stop: Callable[[], bool] = lambda: False) -> Measured:
    """
    Measure all trees of a pool; takes as long as there are files. Raises OSError for a disk that fails.

    What is free is the lesser of before and after the walk, so that bytes that go meanwhile do not count twice.
    """
    before = files.filesystem_space(pool.path)
    stored = {volume_dir.name: trees.disk_bytes(volume_dir, stop=stop) for volume_dir in pool.volumes.iterdir()}
    trashed = {
        entry.name: trees.disk_bytes(entry, stop=stop)
        for entry in pool.trash.iterdir()
        if deleted_at(entry.name) is not None
    }
    after = files.filesystem_space(pool.path)
    return Measured(min(before.available, after.available), after.total - after.free, stored, trashed)


class Ledger:
    """The reserved bytes of each pool, from the catalog: a volume counts as soon as it is in the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._measured: dict[str, Measured] = {}
        self._quarantined: set[str] = set()

    def note(self, pool: Pool, measured: Measured) -> None:
        """Record a measurement of the disk."""
        self._measured[pool.uuid] = self._of_known(pool, measured)
        self._quarantined.discard(pool.uuid)

    def _of_known(self, pool: Pool, measured: Measured) -> Measured:
        """Ignore unknown volumes and trash that is being purged, whose bytes cannot be reserved."""
        known = {entry.manifest.id for entry in self._catalog.of_pool(pool)}
        return replace(
            measured,
            stored={name: size for name, size in measured.stored.items() if name in known},
            trashed={name: size for name, size in measured.trashed.items() if not name.startswith(PURGING)},
        )

    def _usable(self, pool: Pool) -> Measured:
        """
        Return the last measurement without what turned out since to stay in the trash.

        A volume that was deleted since was measured as a volume: then its bytes are among those that are stored.
        """
        measured = self._measured[pool.uuid]
        unremovable = {
            path.name.removeprefix(PURGING) for path in self._catalog.unremovable if path.parent == pool.trash
        }
        if not unremovable:
            return measured
        deleted_since = {name.rpartition(".")[0] for name in unremovable - measured.trashed.keys()}
        return replace(
            measured,
            stored={name: size for name, size in measured.stored.items() if name not in deleted_since},
            trashed={name: size for name, size in measured.trashed.items() if name not in unremovable},
        )

    def is_complete(self, pool: Pool) -> bool:
        """Report whether the pool was measured, and not only estimated by a lower bound."""
        return self._measured[pool.uuid].complete

    def quarantine(self, pool: Pool) -> None:
        """Quarantine a pool whose measurement takes too long, so that volumes are created in other pools."""
        self._quarantined.add(pool.uuid)

    def is_quarantined(self, pool: Pool) -> bool:
        """Report whether the pool is quarantined; one with a configured capacity needs no measurement."""
        return pool.uuid in self._quarantined and pool.capacity_bytes is None

    def refuse_quarantined(self, pool: Pool) -> None:
        """Raise ResourceExhausted where the pool is quarantined."""
        if self.is_quarantined(pool):
            raise ResourceExhausted(quarantined(pool))

    def stored(self, entry: Entry) -> int | None:
        """Return the bytes that a volume occupied when its pool was measured last; None when it was not."""
        measured = self._measured.get(entry.pool.uuid)
        if measured is None or not measured.complete:
            return None
        return measured.stored.get(entry.manifest.id)

    def capacity(self, pool: Pool) -> int:
        """Return the bytes that the pool can reserve in all."""
        if pool.capacity_bytes is not None:
            return pool.capacity_bytes
        return self._usable(pool).reachable * SHARE // 100

    def refuse_for_now(self, pool: Pool) -> None:
        """Raise Unavailable where measuring may show that there is more."""
        if pool.capacity_bytes is None and not self.is_complete(pool) and not self.is_quarantined(pool):
            raise Unavailable(
                f"pool {pool.name} is still measuring what its volumes occupy; until then it can reserve "
                f"{readable(self.available(pool))} more; try again"
            )

    def allocated(self, pool: Pool) -> int:
        """Return the bytes reserved for volumes, ready or being created."""
        return sum(entry.manifest.allocated_bytes for entry in self._catalog.of_pool(pool))

    def available(self, pool: Pool) -> int:
        """Return the bytes that the pool can still reserve."""
        if self.is_quarantined(pool):
            return 0
        return max(0, self.capacity(pool) - self.allocated(pool))

    def used(self, pool: Pool) -> int | None:
        """Return the bytes on disk that its volumes occupied when it was measured last; None when it was not."""
        return self._occupied(pool, limited=False) if self.is_complete(pool) else None

    def reserved(self, pool: Pool) -> int | None:
        """Return the bytes reserved for its volumes that they do not occupy yet; None until it is measured."""
        return self.allocated(pool) - self._occupied(pool, limited=True) if self.is_complete(pool) else None

    def _occupied(self, pool: Pool, *, limited: bool) -> int:
        """Return the bytes of volumes; `limited` counts of each no more than its reserved bytes."""
        stored = self._measured[pool.uuid].stored
        return sum(
            min(stored.get(each.manifest.id, 0), each.manifest.allocated_bytes)
            if limited
            else stored.get(each.manifest.id, 0)
            for each in self._catalog.of_pool(pool)
        )

    def move_to_trash(self, entry: Entry, name: str) -> None:
        """Count a volume's bytes as trash from now on, under the name of its entry."""
        measured = self._measured[entry.pool.uuid]
        if (stored := measured.stored.pop(entry.manifest.id, None)) is not None:
            measured.trashed[name] = stored

    def move_from_trash(self, entry: Entry, name: str) -> None:
        """Undo `move_to_trash`."""
        measured = self._measured[entry.pool.uuid]
        if (stored := measured.trashed.pop(name, None)) is not None:
            measured.stored[entry.manifest.id] = stored

    def trash(self, pool: Pool) -> int:
        """Return the bytes of purgeable trash at the last measurement."""
        return self._usable(pool).trash

    def stored_in_trash(self, pool: Pool, name: str) -> int:
        """Return what one entry of the trash occupied when it was measured last; 0 for one that came since."""
        return self._measured[pool.uuid].trashed.get(name, 0)

    def require(self, pool: Pool, size: int) -> None:
        """Raise OutOfRange for what the pool could never reserve, ResourceExhausted for what it cannot now."""
        self.refuse_quarantined(pool)
        if size > self.available(pool):
            self.refuse_for_now(pool)
        if size > self.capacity(pool):
            message = (
                f"pool {pool.name} can reserve {readable(self.capacity(pool))} in all, and "
                f"{readable(size, up=True)} are requested"
            )
            raise OutOfRange(message) if pool.capacity_bytes is not None else ResourceExhausted(message)
        if size > self.available(pool):
            raise ResourceExhausted(
                f"pool {pool.name} can reserve {readable(self.available(pool))} more, and "
                f"{readable(size, up=True)} are requested; {self.advice(pool)}, or add a pool"
            )

    def require_more(self, pool: Pool, more: int, *, total: int) -> None:
        """
        As `require`, for a volume that grows by `more` to `total`.

        It cannot move to another pool: what this one could never reserve is out of range, whatever sets the bound.
        """
        self.refuse_quarantined(pool)
        if total > self.capacity(pool) or more > self.available(pool):
            self.refuse_for_now(pool)
        if total > self.capacity(pool):
            raise OutOfRange(
                f"pool {pool.name} can reserve {readable(self.capacity(pool))} in all, and "
                f"{readable(total, up=True)} are requested"
            )
        if more > self.available(pool):
            raise ResourceExhausted(
                f"pool {pool.name} can reserve {readable(self.available(pool))} more, and "
                f"{readable(more, up=True)} are requested; {self.advice(pool)}"
            )

    def advice(self, pool: Pool) -> str:
        """
        Return what uses the pool's bytes, and what would help.

        Emptying the trash would not: it counts as free already.
        """
        return (
            f"its volumes have {readable(self.allocated(pool))} of {readable(self.capacity(pool))}, "
            f"and `mooring volumes` lists them: delete volumes that are not needed, and erase those without a "
            f"PersistentVolume"
        )

    def shortfall(self, pool: Pool, free: int) -> int:
        """
        Return the bytes to purge from the trash so that all reserved bytes are available; `free` are free now.

        What volumes occupy and what is free must be of one moment: bytes that volumes took since the measurement are
        missing in both. Without a measurement nothing is known, and no trash is purged for a guess.
        """
        measured = self._measured[pool.uuid]
        if not measured.complete:
            return 0
        missing = self.allocated(pool) - self._occupied(pool, limited=True)
        return max(0, missing - max(free, measured.free))


def quarantined(pool: Pool) -> str:
    """Return why a quarantined pool reserves nothing."""
    return (
        f"pool {pool.name} could not be measured in time, so no volume is created in it until it is; check its disk "
        f"at {pool.path}, or give the pool a capacity"
    )
