"""
Pools that come and go while the driver runs: disks that are mounted, unmounted, moved and added.

A pool whose disk went is kept in mind with its problem, and its volumes are told of no longer: the disk may be in
another machine by now, whose driver tells of them. Volumes that are still mounted here stay known until they are not.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import structlog

from csi.engine import health
from csi.engine.catalog import Contents, read_contents
from csi.engine.engine import Engine
from csi.engine.ledger import Measured, measure
from csi.engine.pools import FILE, Identity, Pool, open_pool
from csi.errors import BadEnvironment

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 3.0


class Discovery:
    """Watches `folders`, whose every directory may become a pool, and the pools that are known already."""

    def __init__(self, engine: Engine, folders: Sequence[Path]) -> None:
        self._engine = engine
        self._folders = folders
        self._complained: dict[Path, str] = {}

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.error("pools.unreadable", problem=str(error))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def look(self) -> None:
        """One look at all disks."""
        catalog = self._engine.catalog
        known = catalog.pools
        problems, found = await self._engine.look(lambda: (_problems(known), _found(self._folders, known)))
        for pool in known:
            problem = problems[pool.uuid]
            if problem and pool.uuid not in catalog.away:
                catalog.lose(pool, problem)
                log.warning("pool.gone", pool=pool.name, uuid=pool.uuid, problem=problem)
            elif not problem and pool.uuid in catalog.away:
                await self._admit(pool)
        for path in found:
            await self._try(path)

    async def _try(self, path: Path) -> None:
        """A directory that says it is a pool; one that cannot be used is complained of once."""
        try:
            pool = await self._engine.look(lambda: open_pool(path, {}))
            self._check(pool)
        except BadEnvironment as error:
            if self._complained.get(path) != str(error):
                log.error("pool.refused", path=str(path), problem=str(error))
            self._complained[path] = str(error)
            return
        self._complained.pop(path, None)
        await self._admit(pool)

    def _check(self, pool: Pool) -> None:
        """Raise BadEnvironment for a second one of the same UUID."""
        catalog = self._engine.catalog
        twin = next((each for each in catalog.pools if each.uuid == pool.uuid), None)
        if twin is not None and twin.uuid not in catalog.away:
            raise BadEnvironment(f"{twin.path} and {pool.path} are both pool {pool.uuid}: one is a copy of the other")
        if twin is not None and catalog.of_pool(twin):
            raise BadEnvironment(f"{pool.path} is pool {pool.uuid}, whose volumes are still mounted from {twin.path}")

    async def _admit(self, pool: Pool) -> None:
        def read() -> tuple[Contents, Measured]:
            return read_contents(pool), measure(pool)

        contents, measured = await self._engine.look(read)
        self._engine.admit(pool, contents, measured)
        log.info("pool.found", pool=pool.name, uuid=pool.uuid, path=str(pool.path), volumes=len(contents.entries))


def _problems(pools: Iterable[Pool]) -> dict[str, str]:
    return {pool.uuid: health.gone(pool) for pool in pools}


def _found(folders: Iterable[Path], known: Sequence[Pool]) -> list[Path]:
    """Directories that say they are a pool, and another one than was last seen in that place."""
    before = {pool.path: pool.uuid for pool in known}
    found = []
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            try:
                identity = msgspec.json.decode((path / FILE).read_bytes(), type=Identity)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, msgspec.MsgspecError):
                found.append(path)  # to be complained of
                continue
            if before.get(path.resolve()) != identity.uuid:
                found.append(path)
    return found
