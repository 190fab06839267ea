"""The state of a pool in one record, for the Inventory service."""

from dataclasses import dataclass
from pathlib import Path

from csi.volumes.ledger import Ledger
from csi.volumes.pools import Pool


@dataclass(frozen=True, slots=True)
class PoolReport:
    """
    A pool, or a path that cannot be opened as one: that has no `uuid`, but a `problem`.

    Sizes are in bytes; `used` and `reserved` are None until the pool was measured. `problem` is why no volume can be
    created in it, `issues` are problems of a pool that can be used nevertheless.
    """

    name: str
    path: Path
    problem: str
    uuid: str = ""
    capacity: int = 0
    allocated: int = 0
    available: int = 0
    trash: int = 0
    used: int | None = None
    reserved: int | None = None
    issues: tuple[str, ...] = ()


def report(pool: Pool, ledger: Ledger, *, problem: str, issues: tuple[str, ...]) -> PoolReport:
    """Return the report of a pool with the bytes from the ledger."""
    return PoolReport(
        pool.name,
        pool.path,
        problem,
        uuid=pool.uuid,
        capacity=ledger.capacity(pool),
        allocated=ledger.allocated(pool),
        available=ledger.available(pool),
        trash=ledger.trash(pool),
        used=ledger.used(pool),
        reserved=ledger.reserved(pool),
        issues=issues,
    )
