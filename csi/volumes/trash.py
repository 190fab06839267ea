"""
Deleted volumes. Deleting is a rename: instant, durable and reversible. The purge removes the data later.

An entry is ``trash/<id>.<unix seconds>``. One that is being purged is renamed first, so that a half-purged volume is
never restored.
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from csi.errors import AlreadyExists, CsiError, Internal, NotFound, Unavailable
from csi.host import files, trees
from csi.host.errors import HostError
from csi.volumes import manifest as manifests
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.manifest import DamagedError, Manifest
from csi.volumes.node_record import FILE as NODE_RECORD
from csi.volumes.pools import Pool
from csi.volumes.requests import MAX_RETENTION, seconds
from csi.volumes.rounds import Rounds
from csi.volumes.trash_names import PURGING, deleted_at
from csi.volumes.workers import Workers

log = structlog.get_logger()

MAX_REPORTED: Final = 1000
"""The number of problems that are remembered, so that each is logged once."""

_DURATION: Final = re.compile(r"(?:[0-9]+[hms])+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Trashed:
    """A deleted volume. Times are unix seconds."""

    pool: Pool
    path: Path
    manifest: Manifest
    deleted: int

    @property
    def purge_after(self) -> int:
        """When it may be purged, in unix seconds."""
        return self.deleted + retention(self.manifest)


class Trash:
    """The trash of all pools; the disk is the only record of it."""

    def __init__(self, catalog: Catalog, workers: Workers) -> None:
        self._catalog = catalog
        self._workers = workers
        self._reported: dict[Path, str] = {}
        self._last: dict[str, list[Trashed]] = {}
        self._purging: Rounds[int] = Rounds()

    async def put(self, entry: Entry) -> str:
        """
        Move a volume to the trash; return the name of its entry.

        If an entry of that name exists (a volume of that id deleted in the same second), the next free second is used.
        """
        pool, volume_dir = entry.pool, entry.volume_dir

        def move() -> str:
            with contextlib.suppress(OSError):  # a deleted volume is mounted nowhere
                (volume_dir / NODE_RECORD).unlink()
            moment = int(time.time())
            while (pool.trash / f"{entry.manifest.id}.{moment}").exists():
                moment += 1
            files.rename_durably(volume_dir, pool.trash / f"{entry.manifest.id}.{moment}")
            return f"{entry.manifest.id}.{moment}"

        name = await self._workers.run(move, lane=pool.uuid)
        self._catalog.drop(entry.manifest.handle)
        log.info("volume.trashed", volume=entry.manifest.handle)
        return name

    async def all(self) -> list[Trashed]:
        """Return all entries, oldest first; for a hanging disk those that were read last."""
        pools = await asyncio.gather(*(self._of_or_last(pool) for pool in self._catalog.present_pools))
        return sorted((each for found in pools for each in found), key=_age)

    async def of_handle(self, handle: str) -> list[Trashed]:
        """Return all entries of a handle, oldest first. Raises Unavailable where the disk hangs."""
        pools = [pool for pool in self._catalog.present_pools if handle.startswith(f"{pool.uuid}.")]
        return [each for pool in pools for each in await self._of(pool) if each.manifest.handle == handle]

    async def _of(self, pool: Pool) -> list[Trashed]:
        """Read one pool's trash, oldest first. Raises Unavailable."""
        found = await self._workers.read(lambda: sorted(self._read_pool(pool), key=_age), lane=pool.uuid)
        self._last[pool.uuid] = found
        return found

    async def _of_or_last(self, pool: Pool) -> list[Trashed]:
        try:
            return await self._of(pool)
        except Unavailable as error:
            self._report("trash.unreadable", pool.trash, str(error))
            return self._last.get(pool.uuid, [])

    def _read_pool(self, pool: Pool) -> Iterator[Trashed]:
        """Yield the valid entries; anything else is not changed, and is reported once."""
        for path in self._listed(pool):
            if path.name.startswith(PURGING):
                continue
            moment = deleted_at(path.name)
            try:
                if moment is None:
                    raise DamagedError(f"{path} does not have the form <id>.<seconds>; move it out of the trash")
                manifest = manifests.read(path)
                if manifest.id != path.name.rpartition(".")[0] or manifest.pool != pool.uuid:
                    raise DamagedError(
                        f"{path} holds the manifest of volume {manifest.handle}; move it out of the trash"
                    )
                yield Trashed(pool, path, manifest, moment)
            except (DamagedError, OSError) as error:
                self._report("trash.unreadable", path, str(error))

    def _listed(self, pool: Pool) -> list[Path]:
        try:
            return list(pool.trash.iterdir())
        except OSError as error:
            self._report("trash.unreadable", pool.trash, str(error))
            return []

    def _report(self, event: str, path: Path, problem: str) -> None:
        """Log a problem once, not in each round."""
        if self._reported.get(path) != problem:
            log.error(event, path=str(path), error=problem)
            while len(self._reported) >= MAX_REPORTED:
                del self._reported[next(iter(self._reported))]  # the oldest
            self._reported[path] = problem

    async def undelete(self, handle: str) -> Entry:
        """Restore the newest volume of this handle. Raises NotFound, AlreadyExists."""
        if self._catalog.get(handle) is not None:
            raise AlreadyExists(f"volume {handle} is not deleted")
        found = await self.of_handle(handle)
        if not found:
            raise NotFound(f"volume {handle} is not in the trash")
        trashed = found[-1]
        entry = Entry(trashed.pool, trashed.manifest)
        await self._workers.run(lambda: files.rename_durably(trashed.path, entry.volume_dir), lane=entry.pool.uuid)
        self._catalog.put(entry)
        log.info("volume.undeleted", volume=handle)
        return entry

    async def purge(self, handle: str = "", *, deleted_before: float = math.inf) -> int:
        """
        Purge one handle's entries, or all, including those whose removal was interrupted; return their number.

        An entry that could still be restored is purged only if it was deleted before `deleted_before` (unix seconds) or
        in that second. Raises Internal when one of them stays: it occupies its bytes until it is removed. Raises
        Unavailable where a disk hangs, after the others were purged.
        """
        pools = [pool for pool in self._catalog.present_pools if not handle or handle.startswith(f"{pool.uuid}.")]
        purges = (self._purge_in(pool, handle, deleted_before) for pool in pools)
        results = await asyncio.gather(*purges, return_exceptions=True)
        done = [each for each in results if not isinstance(each, BaseException)]
        for error in [each for each in results if isinstance(each, BaseException)]:
            raise error
        total, unremovable = sum(count for count, _ in done), [problem for _, problems in done for problem in problems]
        if unremovable:
            raise Internal(f"{len(unremovable)} of {total} entries of the trash could not be removed: {unremovable[0]}")
        return total

    async def _purge_in(self, pool: Pool, handle: str, deleted_before: float) -> tuple[int, list[str]]:
        paths = await self._matching(pool, handle, deleted_before)
        return len(paths), await self._remove_all(pool, paths)

    async def _matching(self, pool: Pool, handle: str, deleted_before: float) -> list[Path]:
        """Return the entries of a handle, or all, also those whose removal began. Raises Unavailable."""
        paths = [
            each.path
            for each in await self._of(pool)
            if (not handle or each.manifest.handle == handle) and each.deleted <= deleted_before
        ]
        volume_id = handle.partition(".")[2]
        interrupted = await self._interrupted(pool)
        return paths + [each for each in interrupted if not handle or _id_in(each) == volume_id]

    async def _remove_all(self, pool: Pool, paths: list[Path]) -> list[str]:
        return [problem for path in paths if (problem := await self._remove(pool, path))]

    async def _interrupted(self, pool: Pool) -> list[Path]:
        """Return entries whose removal began, which cannot be restored any more. Raises Unavailable."""
        listed = await self._workers.read(lambda: self._listed(pool), lane=pool.uuid)
        return [path for path in listed if path.name.startswith(PURGING) and deleted_at(path.name) is not None]

    async def purge_expired(self) -> int:
        """Purge expired entries, and finish interrupted removals; return the number of expired ones."""
        works = {pool.uuid: lambda pool=pool: self._purge_expired(pool) for pool in self._catalog.available_pools}
        return sum(await self._purging.run(works))

    async def _purge_expired(self, pool: Pool) -> int:
        before = {path for path in self._catalog.unremovable if path.parent == pool.trash}
        try:
            interrupted, trashed = await self._interrupted(pool), await self._of(pool)
        except Unavailable as error:
            self._report("trash.unreadable", pool.trash, str(error))
            return 0
        self._catalog.unremovable -= before - set(interrupted)
        await self._remove_all(pool, interrupted)
        expired = [each.path for each in trashed if each.purge_after <= time.time()]
        return len(expired) - len(await self._remove_all(pool, expired))

    async def free_space(self, pool: Pool, wanted: int) -> bool:
        """Purge oldest first until that many bytes are freed; report whether any entry was purged."""
        freed, purged = 0, False
        if wanted <= 0:
            return False
        for trashed in await self._of(pool):
            if freed >= wanted:
                break
            path = trashed.path
            stored = await self._workers.run(lambda path=path: trees.disk_bytes(path), lane=pool.uuid)  # type: ignore[misc]
            if not await self._remove(pool, path):
                freed, purged = freed + stored, True
        return purged

    async def _remove(self, pool: Pool, path: Path) -> str:
        """Remove an entry; return why it is still there, "" when it was removed."""
        purging = path.with_name(PURGING + path.name.removeprefix(PURGING))

        def remove() -> None:
            if path != purging:
                files.rename_durably(path, purging)
            files.remove_tree(pool.path, purging)

        try:
            await self._workers.run(remove, lane=pool.uuid)
            log.info("trash.purged", entry=path.name)
            self._catalog.unremovable.discard(purging)
        except FileNotFoundError:
            return ""  # it was purged meanwhile
        except (HostError, OSError) as error:
            self._report("trash.not_removed", purging, str(error))
            self._catalog.unremovable.add(purging)
            return f"{path.name}: {error}"
        return ""


def _age(trashed: Trashed) -> tuple[int, str]:
    return trashed.deleted, trashed.path.name


def _id_in(entry: Path) -> str:
    """Return the id of the volume whose removal began."""
    return entry.name.removeprefix(PURGING).rpartition(".")[0]


def retention(manifest: Manifest) -> int:
    """Return the seconds that a volume stays in the trash; MAX_RETENTION where a former version accepted more."""
    text = manifest.settings.get("trashRetention", "24h")
    try:
        return seconds(text)
    except CsiError:
        return MAX_RETENTION if _DURATION.fullmatch(text) else 24 * 3600
