"""
Deleted volumes. Deleting is a rename: instant, durable, undoable. The purge comes later and works below the trash only.

An entry is ``trash/<id>.<unix seconds>``. One that is being purged is renamed first, so that a half-purged volume is
never taken for one that could come back.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from csi.engine import manifest as manifests
from csi.engine.catalog import Catalog, Entry
from csi.engine.manifest import Damaged, Manifest
from csi.engine.node_record import FILE as NODE_RECORD
from csi.engine.pools import Pool
from csi.engine.requests import LONGEST_RETENTION, seconds
from csi.engine.trash_names import PURGING, deleted_at
from csi.engine.workers import Workers
from csi.errors import AlreadyExists, CsiError, Internal, NotFound
from csi.host import files, trees
from csi.host.errors import HostError

log = structlog.get_logger()

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
        """When its time is over."""
        return self.deleted + retention(self.manifest)


class Trash:
    """The trash of all pools; the disk is the only record of it."""

    def __init__(self, catalog: Catalog, workers: Workers) -> None:
        self._catalog = catalog
        self._workers = workers
        self._reported: dict[Path, str] = {}

    async def put(self, entry: Entry) -> None:
        """Move a volume here. What is in the way (a volume of that id deleted in the same second) waits a little."""
        pool, home = entry.pool, entry.home

        def move() -> None:
            with contextlib.suppress(OSError):  # whatever is in its place: a deleted volume is mounted nowhere
                (home / NODE_RECORD).unlink()
            moment = int(time.time())
            while (pool.trash / f"{entry.manifest.id}.{moment}").exists():
                moment += 1
            files.rename_durably(home, pool.trash / f"{entry.manifest.id}.{moment}")

        await self._workers.run(move)
        self._catalog.drop(entry.manifest.handle)
        log.info("volume.trashed", volume=entry.manifest.handle)

    async def all(self) -> list[Trashed]:
        """Everything in the trash, oldest first."""
        return await self._workers.look(self._read)

    def _read(self) -> list[Trashed]:
        found = [each for pool in self._catalog.here for each in self._read_pool(pool)]
        return sorted(found, key=lambda each: (each.deleted, each.path.name))

    def _read_pool(self, pool: Pool) -> Iterator[Trashed]:
        """Yield what can be understood; anything else stays where it is, and is reported once."""
        for path in self._listed(pool):
            if path.name.startswith(PURGING):
                continue
            moment = deleted_at(path.name)
            try:
                if moment is None:
                    raise Damaged(f"{path} does not have the form <id>.<seconds>; move it away")
                manifest = manifests.read(path)
                if manifest.id != path.name.rpartition(".")[0] or manifest.pool != pool.uuid:
                    raise Damaged(f"{path} holds the manifest of volume {manifest.handle}; move it away")
                yield Trashed(pool, path, manifest, moment)
            except (Damaged, OSError) as error:
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
            self._reported = {known: each for known, each in self._reported.items() if os.path.lexists(known)}
            self._reported[path] = problem

    async def undelete(self, handle: str) -> Entry:
        """Take the newest volume of this handle back. Raises NotFound, AlreadyExists."""
        if self._catalog.get(handle) is not None:
            raise AlreadyExists(f"volume {handle} is not deleted")
        found = [each for each in await self.all() if each.manifest.handle == handle]
        if not found:
            raise NotFound(f"volume {handle} is not in the trash")
        trashed = found[-1]
        entry = Entry(trashed.pool, trashed.manifest)
        await self._workers.run(lambda: files.rename_durably(trashed.path, entry.home))
        self._catalog.put(entry)
        log.info("volume.undeleted", volume=handle)
        return entry

    async def purge(self, handle: str = "") -> int:
        """
        Remove one handle's entries, or all, those whose removal was cut off as well; how many went.

        Raises Internal when one of them stays: it takes its room for as long as it is there.
        """
        found = [(each.pool, each.path) for each in await self.all() if not handle or each.manifest.handle == handle]
        found += [
            (pool, path)
            for pool, path in await self._workers.look(self._cut_off)
            if not handle or path.name.removeprefix(PURGING).rpartition(".")[0] == handle.partition(".")[2]
        ]
        stuck = [problem for pool, path in found if (problem := await self._remove(pool, path))]
        if stuck:
            raise Internal(f"{len(stuck)} of {len(found)} entries of the trash stay: {stuck[0]}")
        return len(found)

    def _cut_off(self) -> list[tuple[Pool, Path]]:
        """Entries whose removal began: they never come back, whoever removes them."""
        return [
            (pool, path)
            for pool in self._catalog.here
            for path in self._listed(pool)
            if path.name.startswith(PURGING) and deleted_at(path.name) is not None
        ]

    async def purge_expired(self) -> int:
        """Remove what has been here long enough, and finish what a crash interrupted."""
        before = set(self._catalog.stuck)
        cut_off = await self._workers.look(self._cut_off)
        here = {pool.trash for pool in self._catalog.here}
        self._catalog.stuck -= {path for path in before if path.parent in here} - {path for _, path in cut_off}
        for pool, path in cut_off:
            await self._remove(pool, path)
        expired = [each for each in await self.all() if each.purge_after <= time.time()]
        stuck = [each for each in expired if await self._remove(each.pool, each.path)]
        return len(expired) - len(stuck)

    async def make_room(self, pool: Pool, wanted: int) -> bool:
        """Purge oldest first until so many bytes are free again; whether anything went."""
        gained, went = 0, False
        if wanted <= 0:
            return False
        for trashed in [each for each in await self.all() if each.pool.uuid == pool.uuid]:
            if gained >= wanted:
                break
            path = trashed.path
            stored = await self._workers.run(lambda path=path: trees.disk_bytes(path))  # type: ignore[misc]
            if not await self._remove(pool, path):
                gained, went = gained + stored, True
        return went

    async def _remove(self, pool: Pool, path: Path) -> str:
        """Remove an entry; why it stays, "" when it is gone."""
        doomed = path.with_name(PURGING + path.name.removeprefix(PURGING))

        def remove() -> None:
            if path != doomed:
                files.rename_durably(path, doomed)
            files.remove_tree(pool.path, doomed)

        try:
            await self._workers.run(remove)
            log.info("trash.purged", entry=path.name)
            self._catalog.stuck.discard(doomed)
        except FileNotFoundError:
            return ""  # somebody else purged it
        except (HostError, OSError) as error:
            self._report("trash.stuck", doomed, str(error))
            self._catalog.stuck.add(doomed)
            return f"{path.name}: {error}"
        return ""


def retention(manifest: Manifest) -> int:
    """Return the seconds that a volume stays in the trash; the longest time where more was once accepted."""
    text = manifest.settings.get("trashRetention", "24h")
    try:
        return seconds(text)
    except CsiError:
        return LONGEST_RETENTION if _DURATION.fullmatch(text) else 24 * 3600
