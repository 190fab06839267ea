"""
Measure the bytes of pools and volumes in the background: no other operation waits for a walk over a tree.

Each pool is walked in a lane of its own, so that a hanging disk delays no other. A caller waits for a bounded time, and
then gets the last measurement.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from csi.host import trees
from csi.volumes import ledger as ledgers
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.ledger import Ledger
from csi.volumes.pools import Pool
from csi.volumes.workers import Workers

log = structlog.get_logger()

T = TypeVar("T")

REQUEST_WAIT_SECONDS: Final = 2.0
"""The seconds that a request waits for a new measurement before it is refused."""

STATS_WAIT_SECONDS: Final = 0.2
"""The seconds that stats wait for a new measurement."""

DEADLINE_SECONDS: Final = 600.0
"""After so long without a first measurement a pool is quarantined."""

PAUSE_FACTOR: Final = 10
"""The pause after a walk, as a multiple of its duration: at most a tenth of the time is spent on walks."""


@dataclass(frozen=True, slots=True)
class _Use:
    """The bytes that a volume occupied, the time of the measurement (monotonic clock), and its seconds."""

    stored: int
    moment: float
    took: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is too early to walk again."""
        return time.monotonic() - self.moment < self.took * PAUSE_FACTOR


class Measuring:
    """Running and finished measurements. Used on the event loop only."""

    def __init__(self, catalog: Catalog, ledger: Ledger, workers: Workers) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._workers = workers
        self._running: dict[str, asyncio.Future[None]] = {}
        self._uses: dict[str, _Use] = {}
        self._not_before: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._problems: dict[str, str] = {}

    def expect(self, pool: Pool) -> None:
        """Start the deadline of a pool that was just admitted."""
        self._since.pop(pool.uuid, None)

    async def refresh(self, pool: Pool) -> None:
        """Measure a pool again, unless that was done recently; wait for a bounded time."""
        if self._ledger.is_complete(pool) and time.monotonic() < self._not_before.get(pool.uuid, 0):
            return
        await self._join(pool.uuid, lambda: self._measure(pool), REQUEST_WAIT_SECONDS)

    async def stored(self, entry: Entry) -> int | None:
        """Return what a volume occupies, by a new measurement if that is quick, else the last; None without any."""
        handle = entry.manifest.handle
        use = self._uses.get(handle)
        if use is None or not use.is_fresh:
            await self._join(handle, lambda: self._measure_volume(entry), STATS_WAIT_SECONDS)
            use = self._uses.get(handle)
        return use.stored if use is not None else self._ledger.stored(entry)

    def last(self, entry: Entry) -> int | None:
        """Return what a volume occupied when it was measured last."""
        use = self._uses.get(entry.manifest.handle)
        return use.stored if use is not None else self._ledger.stored(entry)

    async def round(self) -> None:
        """Measure all pools that were not measured recently, side by side; a hanging disk delays no other."""
        handles = {entry.manifest.handle for entry in self._catalog.all()}
        self._uses = {handle: use for handle, use in self._uses.items() if handle in handles}
        for pool in self._catalog.available_pools:
            since = self._since.setdefault(pool.uuid, time.monotonic())
            if not self._ledger.is_complete(pool) and time.monotonic() - since > DEADLINE_SECONDS:
                if not self._ledger.is_quarantined(pool):
                    log.error("pool.not_measured", pool=pool.name, uuid=pool.uuid, path=str(pool.path))
                self._ledger.quarantine(pool)
        await asyncio.gather(*(self.refresh(pool) for pool in self._catalog.available_pools))

    async def _join(self, key: str, work: Callable[[], Awaitable[None]], timeout: float) -> None:
        """Join the measurement of this key, or start it; it continues after the timeout."""
        if (running := self._running.get(key)) is None:
            running = self._running[key] = asyncio.ensure_future(self._guarded(key, work))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.shield(running)

    async def _guarded(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """Log a failure once; the last measurement stays in force."""
        try:
            await work()
            self._problems.pop(key, None)
        except trees.WalkStoppedError:
            return
        except Exception as error:
            if self._problems.get(key) != repr(error):
                log.exception("measuring.failed", key=key, error=repr(error))
            self._problems[key] = repr(error)
        finally:
            del self._running[key]

    async def _measure(self, pool: Pool) -> None:
        started = time.monotonic()
        stop = self._workers.stopping.is_set
        measured = await self._workers.walk(pool.uuid, lambda: ledgers.measure(pool, stop=stop))
        took = time.monotonic() - started
        self._not_before[pool.uuid] = time.monotonic() + took * PAUSE_FACTOR
        self._ledger.note(pool, measured)

    async def _measure_volume(self, entry: Entry) -> None:
        started = time.monotonic()
        stop = self._workers.stopping.is_set
        stored = await self._workers.walk(
            f"volumes-{entry.pool.uuid}", lambda: trees.disk_bytes(entry.volume_dir / "data", stop=stop)
        )
        now = time.monotonic()
        self._uses[entry.manifest.handle] = _Use(stored, now, now - started)
