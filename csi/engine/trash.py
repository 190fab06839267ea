"""
Deleted volumes. Deleting is a rename: instant, durable, undoable. The purge comes later and works below the trash only.

An entry is ``trash/<id>.<unix seconds>``. One that is being purged is renamed first, so that a half-purged volume is
never taken for one that could come back.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from csi.engine import manifest as manifests
from csi.engine.catalog import Catalog, Entry
from csi.engine.manifest import Damaged, Manifest
from csi.engine.node_record import FILE as NODE_RECORD
from csi.engine.pools import Pool
from csi.engine.requests import seconds
from csi.engine.workers import Workers
from csi.errors import AlreadyExists, CsiError, NotFound
from csi.host import files, trees
from csi.host.errors import HostError

log = structlog.get_logger()

PURGING: Final = ".purging-"


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

    async def put(self, entry: Entry) -> None:
        """Move a volume here. What is in the way (a volume of that id deleted in the same second) waits a little."""
        pool, home = entry.pool, entry.home

        def move() -> None:
            (home / NODE_RECORD).unlink(missing_ok=True)
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
        found = []
        for pool in self._catalog.here:
            for path in pool.trash.iterdir():
                _, dot, moment = path.name.rpartition(".")
                if path.name.startswith(PURGING) or not dot or not moment.isdecimal():
                    continue
                try:
                    found.append(Trashed(pool, path, manifests.read(path), int(moment)))
                except (Damaged, OSError) as error:
                    log.warning("trash.unreadable", path=str(path), problem=str(error))
        return sorted(found, key=lambda each: (each.deleted, each.path.name))

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
        """Remove one handle's entries, or all; how many went."""
        found = [each for each in await self.all() if not handle or each.manifest.handle == handle]
        for trashed in found:
            await self._remove(trashed.pool, trashed.path)
        return len(found)

    async def purge_expired(self) -> int:
        """Remove what has been here long enough, and finish what a crash interrupted."""
        count = 0
        for pool in self._catalog.here:
            for path in [each for each in pool.trash.iterdir() if each.name.startswith(PURGING)]:
                await self._remove(pool, path)
        for trashed in await self.all():
            if trashed.purge_after <= time.time():
                await self._remove(trashed.pool, trashed.path)
                count += 1
        return count

    async def make_room(self, pool: Pool, wanted: int) -> bool:
        """Purge oldest first until so many bytes are free again; whether anything went."""
        gained, went = 0, False
        if wanted <= 0:
            return False
        for trashed in [each for each in await self.all() if each.pool.uuid == pool.uuid]:
            if gained >= wanted:
                break
            stored = await self._workers.look(lambda path=trashed.path: trees.disk_bytes(path))  # type: ignore[misc]
            await self._remove(pool, trashed.path)
            gained, went = gained + stored, True
        return went

    async def _remove(self, pool: Pool, path: Path) -> None:
        def remove() -> None:
            doomed = path
            if not path.name.startswith(PURGING):
                doomed = path.with_name(PURGING + path.name)
                files.rename_durably(path, doomed)
            files.remove_tree(pool.path, doomed)

        try:
            await self._workers.run(remove)
            log.info("trash.purged", entry=path.name)
        except FileNotFoundError:
            return  # somebody else purged it
        except (HostError, OSError) as error:
            log.error("trash.stuck", path=str(path), problem=str(error))


def retention(manifest: Manifest) -> int:
    """Seconds that a volume stays in the trash."""
    try:
        return seconds(manifest.settings.get("trashRetention", "24h"))
    except CsiError:
        return 24 * 3600
