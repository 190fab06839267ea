"""
What pools may still promise: never more than they can keep (no overcommit).

A pool promises its configured capacity, or 95 % of what is free plus what our own bytes occupy. Trash counts as free:
it is purged when a promise needs the room. All in bytes.
"""

from dataclasses import dataclass, field
from typing import Final

from csi.engine.catalog import Catalog
from csi.engine.pools import Pool
from csi.errors import OutOfRange, ResourceExhausted
from csi.host import files, trees

SHARE: Final = 95
"""Per cent of the disk that may be promised; the rest is for the filesystem itself and for whoever shares it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at a pool's disk."""

    free: int
    stored: dict[str, int] = field(default_factory=dict)
    trash: int = 0

    @property
    def reachable(self) -> int:
        """Free, or ours."""
        return self.free + sum(self.stored.values()) + self.trash


def measure(pool: Pool) -> Measured:
    """Look at the disk; takes as long as there are files."""
    stored = {home.name: trees.disk_bytes(home) for home in pool.volumes.iterdir()}
    return Measured(files.filesystem_space(pool.path).available, stored, trees.disk_bytes(pool.trash))


class Ledger:
    """The promises, kept by the catalog: a volume counts from the moment it is known there."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._measured: dict[str, Measured] = {}

    def note(self, pool: Pool, measured: Measured) -> None:
        """Remember a look at the disk."""
        self._measured[pool.uuid] = measured

    def capacity(self, pool: Pool) -> int:
        """What the pool may promise in all."""
        if pool.capacity_bytes is not None:
            return pool.capacity_bytes
        return self._measured[pool.uuid].reachable * SHARE // 100

    def promised(self, pool: Pool) -> int:
        """What it has promised to volumes, made or being made."""
        return sum(entry.manifest.promised_bytes for entry in self._catalog.of_pool(pool))

    def available(self, pool: Pool) -> int:
        """What it can still promise."""
        return max(0, self.capacity(pool) - self.promised(pool))

    def trash(self, pool: Pool) -> int:
        """What the trash occupied at the last look."""
        return self._measured[pool.uuid].trash

    def require(self, pool: Pool, size: int) -> None:
        """Raise OutOfRange for what the pool could never promise, ResourceExhausted for what it cannot now."""
        if size > self.capacity(pool):
            message = f"pool {pool.name} can promise {self.capacity(pool)} bytes in all, and {size} are asked for"
            raise OutOfRange(message) if pool.capacity_bytes is not None else ResourceExhausted(message)
        if size > self.available(pool):
            raise ResourceExhausted(
                f"pool {pool.name} can promise {self.available(pool)} more bytes, and {size} are asked for; "
                f"delete volumes, or add a pool"
            )

    def require_more(self, pool: Pool, more: int, *, total: int) -> None:
        """
        As `require`, for a volume that grows by `more` to `total`.

        It cannot move to another pool: what this one could never promise is out of range, whatever sets the bound.
        """
        if total > self.capacity(pool):
            raise OutOfRange(
                f"pool {pool.name} can promise {self.capacity(pool)} bytes in all, and {total} are asked for"
            )
        if more > self.available(pool):
            raise ResourceExhausted(
                f"pool {pool.name} can promise {self.available(pool)} more bytes, and {more} are asked for; "
                f"delete volumes there"
            )

    def shortfall(self, pool: Pool) -> int:
        """Bytes that the trash must give back so that all promises can be kept."""
        measured = self._measured[pool.uuid]
        kept = sum(
            min(entry.manifest.promised_bytes, measured.stored.get(entry.manifest.id, 0))
            for entry in self._catalog.of_pool(pool)
        )
        return max(0, self.promised(pool) - kept - files.filesystem_space(pool.path).available)
