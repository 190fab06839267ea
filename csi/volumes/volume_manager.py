"""The volume manager: all operations that the services call."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from csi.backends.protocol import Backend, HealthIssue, Usage
from csi.errors import FailedPrecondition, NotFound, Unavailable
from csi.volumes import health
from csi.volumes import manifest as manifests
from csi.volumes.catalog import Catalog, Contents, Entry, read_contents
from csi.volumes.creation import Volumes
from csi.volumes.expansion import Expansion
from csi.volumes.imports import Importing, Imports
from csi.volumes.ledger import Ledger, Measured, lower_bound, quarantined
from csi.volumes.manifest import Manifest
from csi.volumes.measuring import Measuring
from csi.volumes.node import NO_VOLUME, Node
from csi.volumes.node_record import FOLDER, NodeRecords
from csi.volumes.pool_reports import PoolReport, report
from csi.volumes.pools import Pool
from csi.volumes.requests import Creation, Ending, Expanding, Publishing, Staging
from csi.volumes.rounds import Rounds
from csi.volumes.singleflight import SingleFlight
from csi.volumes.trash import Trash, Trashed
from csi.volumes.volume_ids import id_of, parse_handle
from csi.volumes.workers import Workers, read_in_time

log = structlog.get_logger()

T = TypeVar("T")

FINISH_SECONDS: Final = 2.0
"""The seconds that the start waits for interrupted expansions."""

STOP_SECONDS: Final = 60.0
"""How long a stop waits for operations; the next start finishes what a kill interrupts."""


class VolumeManager:
    """The driver without its protocol. Methods raise CsiError, or HostError for a failed system call."""

    def __init__(
        self,
        *,
        backends: dict[str, Backend],
        node_id: str,
        workers: int,
        purge_seconds: float,
        state: Path | None = None,
    ) -> None:
        """`state` is the directory of the driver's own state, beside its socket; None keeps that in memory only."""
        self.node_id = node_id
        self.backends = backends
        self.catalog = Catalog()
        self.ledger = Ledger(self.catalog)
        self._workers = Workers(workers)
        self._flight = SingleFlight()
        self.measuring = Measuring(self.catalog, self.ledger, self._workers)
        self._trash = Trash(self.catalog, self._workers)
        self._volumes = Volumes(
            self.catalog,
            self.ledger,
            self._trash,
            self._workers,
            measuring=self.measuring,
            backends=backends,
            node_id=node_id,
        )
        self._imports = Imports(self.catalog, self.ledger, self._volumes, self._trash, self._workers)
        records = NodeRecords(state / FOLDER if state is not None else None)
        own_paths = () if state is None else (state.resolve(),)
        self._node = Node(self.catalog, self._volumes, self._workers, records=records, own_paths=own_paths)
        self._expansion = Expansion(self._volumes, self._node, self.ledger, self._trash, self._workers)
        self._purge_seconds = purge_seconds
        self._problems: dict[str, str] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._finishing: Rounds[None] = Rounds()

    def remember_pools(self, uuids: Iterable[str]) -> None:
        """Unpublish and unstage volumes of these pools, too: this node served them before."""
        self._node.remember_pools(uuids)

    def load(self, pools: Iterable[Pool]) -> None:
        """Read what is on the disks, before serving; a pool that cannot be read is polled for."""
        for pool in pools:
            try:
                self.admit(*read_in_time(lambda pool=pool: self.read_pool(pool)))  # type: ignore[misc]
            except OSError as error:  # TimeoutError is one
                self.catalog.refused[pool.path] = f"pool {pool.name} cannot be read: {error}; check its disk"
                log.error("pool.refused", path=str(pool.path), error=str(error))

    def read_pool(self, pool: Pool) -> tuple[Pool, Contents, Measured]:
        """Read what is needed to serve a pool: its manifests, and no volume's data. Raises OSError."""
        return pool, read_contents(pool, backends=self.backends), lower_bound(pool)

    def admit(self, pool: Pool, contents: Contents, measured: Measured) -> None:
        """Admit a pool and serve its volumes."""
        self.catalog.admit(pool, contents)
        self.ledger.note(pool, measured)
        self.measuring.expect(pool)
        self.catalog.refused.pop(pool.path, None)
        self._node.admit_pool(pool)
        for entry in contents.entries:
            self._node.admit(entry)
        self._changed()

    async def create(self, request: Creation) -> Entry:
        """Create a volume (CreateVolume)."""
        return await self._flight.run(id_of(request.name), request, lambda: self._volumes.create(request))

    async def import_volume(self, request: Importing) -> Entry:
        """Import data in a pool's folder as a volume (Import)."""
        return await self._flight.run(id_of(request.name), request, lambda: self._imports.import_volume(request))

    async def delete(self, handle: str) -> None:
        """Move a volume to the trash (DeleteVolume); idempotent."""
        entry = self.catalog.get(handle)
        if entry is not None:
            await self._flight.run(entry.manifest.id, Ending("delete", handle), lambda: self._delete(handle))

    async def _delete(self, handle: str) -> None:
        entry = self.catalog.get(handle)
        if entry is None:
            return
        if path := await self._node.in_use(entry):
            raise FailedPrecondition(f"volume {handle} is in use at {path}; unpublish and unstage it first")
        backend, shape = self.backends[entry.manifest.backend], entry.manifest.shape
        await self._workers.run(lambda: backend.detach(entry.volume_dir, shape), lane=entry.pool.uuid)
        self.ledger.move_to_trash(entry, await self._trash.put(entry))
        await self._node.forget(handle)
        self._changed()

    async def expand(self, request: Expanding) -> Entry:
        """Expand a volume (ControllerExpandVolume)."""
        entry = self.find(request.handle)
        return await self._flight.run(entry.manifest.id, request, lambda: self._expansion.expand(request, entry))

    async def node_expand(self, handle: str, path: str, *, required: int) -> Manifest:
        """Expand a mounted filesystem (NodeExpandVolume)."""
        request = ("node expand", handle, path, required)
        work = lambda: self._expansion.node_expand(handle, path, required=required)  # noqa: E731
        return await self._flight.run(self.find(handle).manifest.id, request, work)

    async def modify(self, handle: str, parameters: tuple[tuple[str, str], ...]) -> None:
        """Set the named parameters, and keep the others (ControllerModifyVolume)."""

        def changed(manifest: Manifest) -> Manifest:
            return msgspec.structs.replace(manifest, mutable_parameters=manifest.mutable_parameters | dict(parameters))

        await self._rewrite(handle, ("modify", handle, parameters), changed)

    async def stage(self, request: Staging) -> None:
        """Stage a volume (NodeStageVolume)."""
        await self._on(request.handle, request, lambda: self._node.stage(request))

    async def unstage(self, handle: str, staging: str) -> None:
        """Unstage a volume (NodeUnstageVolume)."""
        await self._on(handle, Ending("unstage", handle, staging), lambda: self._node.unstage(handle, staging))

    async def publish(self, request: Publishing) -> None:
        """Publish a volume (NodePublishVolume)."""
        await self._on(request.handle, request, lambda: self._node.publish(request))

    async def unpublish(self, handle: str, target: str) -> None:
        """Unpublish a volume (NodeUnpublishVolume)."""
        await self._on(handle, Ending("unpublish", handle, target), lambda: self._node.unpublish(handle, target))

    async def usage(self, handle: str, path: str) -> Usage:
        """Return the usage of a volume (NodeGetVolumeStats), without waiting for other operations."""
        usage = await self._node.usage(handle, path)
        entry = self.find(handle)
        if usage.used_bytes is not None or usage.available_bytes is None:
            return usage
        return usage.filled(await self.measuring.stored(entry) or 0)

    async def used_at(self, handle: str) -> str:
        """Return a path at which this node uses the volume; "" when there is none. Raises NotFound."""
        return await self._node.in_use(self.find(handle))

    def find(self, handle: str) -> Entry:
        """Return the volume. Raises NotFound."""
        entry = self.catalog.get(handle)
        if entry is None:
            raise NotFound(f"volume {handle} does not exist on this node")
        return entry

    async def record_holder(self, handle: str, labels: dict[str, str]) -> Entry:
        """Record the volume's owner; the former owner stays in its manifest."""
        request = ("holder", handle, tuple(sorted(labels.items())))
        return await self._rewrite(handle, request, lambda manifest: manifest.owned_by(labels, now=manifests.now()))

    async def _rewrite(self, handle: str, request: object, change: Callable[[Manifest], Manifest]) -> Entry:
        """Write a changed manifest to the disk, then use it; an unchanged one is not written."""

        async def rewrite() -> Entry:
            entry = self.find(handle)
            manifest = change(entry.manifest)
            if manifest != entry.manifest:
                await self._workers.run(lambda: manifests.write(entry.volume_dir, manifest), lane=entry.pool.uuid)
                entry.manifest = manifest
            return entry

        return await self._flight.run(self.find(handle).manifest.id, request, rewrite)

    async def health(self, handle: str, *, measured_before: bool = False) -> list[HealthIssue]:
        """Return the health issues of one volume; `measured_before` uses the last measurement."""
        entry = self.find(handle)
        stored = self.measuring.last(entry)
        if entry.manifest.enforced:
            stored = None
        elif not measured_before:
            stored = await self.measuring.stored(entry)
        backend = self.backends[entry.manifest.backend]
        try:
            return await self._workers.read(lambda: health.of_volume(entry, backend, stored), lane=entry.pool.uuid)
        except Unavailable as error:
            return [HealthIssue("INACCESSIBLE", "PoolNotResponding", str(error))]

    async def storage_health(self) -> list[HealthIssue]:
        """Return the health issues of the pools."""
        found = await asyncio.gather(*(self._pool_health(pool) for pool in self.catalog.pools))
        return [*health.of_refused(self.catalog), *(each for health_issues in found for each in health_issues)]

    async def _pool_health(self, pool: Pool) -> list[HealthIssue]:
        unmeasured = self.ledger.is_quarantined(pool)
        found = [HealthIssue("STORAGE_DEGRADED", "PoolNotMeasured", quarantined(pool))] if unmeasured else []
        try:
            return await self._workers.read(lambda: health.of_pool(pool, self.catalog), lane=pool.uuid) + found
        except Unavailable as error:
            return [HealthIssue("STORAGE_UNREACHABLE", "PoolNotResponding", str(error)), *found]

    async def pool_reports(self) -> list[PoolReport]:
        """Return the state of all pools, and of the paths that cannot be opened as pools."""
        pools = self.catalog.pools
        found = await asyncio.gather(*(self._condition(pool) for pool in pools))
        reports = [
            report(pool, self.ledger, problem=problem, issues=issues)
            for pool, (problem, issues) in zip(pools, found, strict=True)
        ]
        paths = {pool.path for pool in pools}
        refused = sorted((path, problem) for path, problem in self.catalog.refused.items() if path not in paths)
        return reports + [PoolReport(path.name, path, problem) for path, problem in refused]

    async def _condition(self, pool: Pool) -> tuple[str, tuple[str, ...]]:
        """Return why no volume can be created in the pool, "" when one can, and then its health issues."""
        known = self.catalog.missing_pools.get(pool.uuid) or self.catalog.unresponsive.get(pool.uuid)
        if known:
            return known, ()
        try:
            if problem := await self._workers.read(lambda: health.location_problem(pool), lane=pool.uuid):
                return problem, ()
            issues = await self._workers.read(lambda: health.of_pool(pool, self.catalog), lane=pool.uuid)
        except Unavailable as error:
            return str(error), ()
        return "", tuple(each.message for each in issues)

    def backend(self, name: str) -> Backend:
        """Return the backend of this name."""
        return self.backends[name]

    def usable_backends(self) -> list[str]:
        """Return the names of the backends that work on this node."""
        return [name for name, backend in self.backends.items() if not backend.problem()]

    def volumes(self, *, ready: bool = False) -> list[Entry]:
        """Return all volumes, or only those that are completely created, sorted by handle."""
        return [entry for entry in self.catalog.all() if not ready or entry.manifest.state == "ready"]

    def available_bytes(self, pool_name: str) -> int:
        """Return the bytes of the pool that can still be reserved; of the largest one for ""."""
        pools = [pool for pool in self.catalog.available_pools if pool_name in {"", pool.name}]
        return max((self.ledger.available(pool) for pool in pools), default=0)

    def stored_bytes(self, entry: Entry) -> int | None:
        """Return the bytes that a volume occupied when it was measured last; None before the first measurement."""
        return self.measuring.last(entry)

    async def trashed(self) -> list[Trashed]:
        """Return the deleted volumes, oldest first; those of a hanging disk as they were read last."""
        return await self._trash.all()

    def stored_bytes_in_trash(self, trashed: Trashed) -> int:
        """Return the bytes that a deleted volume occupied when its pool was measured last."""
        return self.ledger.stored_in_trash(trashed.pool, trashed.path.name)

    async def read(self, work: Callable[[], T], *, lane: str = "") -> T:
        """Read from a disk without delaying other pools. Raises Unavailable where it does not respond in time."""
        return await self._workers.read(work, lane=lane)

    @property
    def trash(self) -> Trash:
        """The deleted volumes."""
        return self._trash

    async def undelete(self, handle: str) -> Entry:
        """Restore a volume from the trash, if its pool can reserve its size."""

        async def take() -> Entry:
            found = await self._trash.of_handle(handle)
            if found and self.catalog.get(handle) is None:
                self.ledger.require(found[-1].pool, found[-1].manifest.size_bytes)
            entry = await self._trash.undelete(handle)
            self.ledger.move_from_trash(entry, found[-1].path.name)
            return entry

        return await self._flight.run(handle.partition(".")[2] or handle, Ending("undelete", handle), take)

    async def purge(self, handle: str = "", *, deleted_before: float = math.inf) -> int:
        """See `Trash.purge`; what is free then is measured soon."""
        try:
            return await self._trash.purge(handle, deleted_before=deleted_before)
        finally:
            self._changed()

    async def run_rounds(self) -> None:
        """Purge expired trash, measure the disks and finish expansions, until cancelled; none waits for another."""
        await asyncio.gather(
            self._repeat("trash", self._trash.purge_expired),
            self._repeat("measuring", self.measuring.round),
            self._repeat("expansions", self.finish_interrupted),
        )

    async def _repeat(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Work in rounds, sooner when something changed."""
        wake = self._wake.setdefault(name, asyncio.Event())
        while True:
            wake.clear()
            await self._guarded(name, work)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._purge_seconds):
                    await wake.wait()

    def _changed(self) -> None:
        """Start the next rounds now."""
        for each in self._wake.values():
            each.set()

    async def _guarded(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do one round; an error ends it and nothing else, and is reported when it is a new one."""
        try:
            await work()
            self._problems.pop(name, None)
        except Exception as error:
            if self._problems.get(name) != repr(error):
                log.exception("round.failed", round=name, error=repr(error))
            self._problems[name] = repr(error)

    async def finish_interrupted_first(self) -> None:
        """Before serving: finish what a crash interrupted where that is quick; the rest is finished later."""
        finishing = asyncio.ensure_future(self._guarded("expansions", self.finish_interrupted))
        await asyncio.wait([finishing], timeout=FINISH_SECONDS)

    async def finish_interrupted(self) -> None:
        """Finish expansions that a crash interrupted; a running one finishes by itself."""
        pools = self.catalog.available_pools
        await self._finishing.run({pool.uuid: lambda pool=pool: self._finish_interrupted_in(pool) for pool in pools})  # type: ignore[misc]

    async def _finish_interrupted_in(self, pool: Pool) -> None:
        for entry in self.catalog.of_pool(pool):
            if entry.manifest.grows_to and not self._flight.is_running(entry.manifest.id):
                work = lambda entry=entry: self._expansion.finish_interrupted(entry)  # noqa: E731
                await self._flight.run(entry.manifest.id, ("finish", entry.manifest.handle), work)

    async def _on(self, handle: str, request: object, work: Callable[[], Awaitable[None]]) -> None:
        """Run one call on a volume at a time; the volume need not be known any more."""
        parsed = parse_handle(handle)
        if parsed is None:
            raise NotFound(NO_VOLUME.format(handle))
        await self._flight.run(parsed.id, request, work)

    async def stop(self) -> None:
        """Refuse new work and finish the running work; hanging work is abandoned."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._flight.drain()
        except TimeoutError:
            log.error("operations.abandoned", count=len(self._flight))
        self._workers.close()
