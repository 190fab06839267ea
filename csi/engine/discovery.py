"""
Pools that come and go while the driver runs: disks that are mounted, unmounted, moved and added.

A pool whose disk went is kept in mind with its problem, and its volumes are told of no longer: the disk may be in
another machine by now, whose driver tells of them. Volumes that are still mounted here stay known until they are not.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog

from csi.engine import health
from csi.engine.catalog import Contents
from csi.engine.engine import Engine
from csi.engine.ledger import Measured
from csi.engine.manifest import UNREADABLE
from csi.engine.pools import Pool, open_pool, read_identity, read_known, write_known
from csi.errors import BadEnvironment

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 3.0


class Discovery:
    """
    Watches `folders`, whose every directory may become a pool, the pools that are known already, and `paths`.

    `paths` are to be pools and may not be there yet; `known_file` remembers which pool was where.
    """

    def __init__(
        self, engine: Engine, folders: Sequence[Path], *, paths: Sequence[Path] = (), known_file: Path | None = None
    ) -> None:
        self._engine = engine
        self._folders = folders
        self._paths = paths
        self._known_file = known_file
        self._problem = ""

    async def keep(self) -> None:
        """Look again and again until cancelled, whatever fails in it."""
        while True:
            await self.look_safely()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def look_safely(self) -> None:
        """Look once; what fails in it is reported when it is new, and raises nothing."""
        try:
            await self.look()
            self._problem = ""
        except Exception as error:
            if self._problem != repr(error):
                log.exception("pools.unreadable", error=repr(error))
            self._problem = repr(error)

    async def look(self) -> None:
        """One look at all disks."""
        catalog = self._engine.catalog
        known = catalog.pools
        problems, found = await self._engine.look(lambda: (_problems(known), self._found(known)))
        for pool in known:
            problem = problems[pool.uuid]
            if problem and pool.uuid not in catalog.away:
                catalog.lose(pool, problem)
                log.warning("pool.gone", pool=pool.name, uuid=pool.uuid, problem=problem)
            elif not problem and pool.uuid in catalog.away:
                await self._try(pool.path, {str(pool.path): pool.uuid})
        served = {pool.path for pool in catalog.pools}
        if missing := [path for path in self._paths if Path(os.path.realpath(path)) not in served]:
            before = read_known(self._known_file) if self._known_file else {}
            for path in missing:
                await self._try(path, before)
        for path in found:
            await self._try(path, {})
        watched = {*found, *self._paths, *served}
        for path in [each for each in catalog.refused if each not in watched]:
            del catalog.refused[path]  # its directory is gone

    async def _try(self, path: Path, known: Mapping[str, str]) -> None:
        """Admit a directory that says it is a pool; report once why it cannot be used."""
        catalog = self._engine.catalog

        def read() -> tuple[Pool, Contents, Measured]:
            return self._engine.read(open_pool(path, known))

        try:
            pool, contents, measured = await self._engine.look(read)
            self._check(pool)
            if path in self._paths and self._known_file:
                remembered = read_known(self._known_file) | {str(pool.path): pool.uuid}
                write_known(self._known_file, remembered)
        except (BadEnvironment, OSError) as error:
            if catalog.refused.get(path) != str(error):
                log.error("pool.refused", path=str(path), error=str(error))
            catalog.refused[path] = str(error)
            return
        self._engine.admit(pool, contents, measured)
        catalog.refused.pop(path, None)
        log.info("pool.found", pool=pool.name, uuid=pool.uuid, path=str(pool.path), volumes=len(contents.entries))

    def _check(self, pool: Pool) -> None:
        """Raise BadEnvironment for a second one of the same UUID."""
        catalog = self._engine.catalog
        twin = next((each for each in catalog.pools if each.uuid == pool.uuid), None)
        if twin is not None and twin.uuid not in catalog.away:
            raise BadEnvironment(f"{twin.path} and {pool.path} are both pool {pool.uuid}: one is a copy of the other")
        if twin is not None and twin.path != pool.path and catalog.of_pool(twin):
            raise BadEnvironment(f"{pool.path} is pool {pool.uuid}, whose volumes are still mounted from {twin.path}")

    def _found(self, known: Sequence[Pool]) -> list[Path]:
        """Directories that say they are a pool, and another one than was last seen in that place."""
        before = {pool.path: pool.uuid for pool in known}
        return [path for folder in self._folders for path in _listed(folder) if _is_new(path, before)]


def _problems(pools: Iterable[Pool]) -> dict[str, str]:
    return {pool.uuid: health.gone(pool) for pool in pools}


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_new(path: Path, before: Mapping[Path, str]) -> bool:
    """Whether it has to be opened; what cannot be read has, too, so that it is reported."""
    try:
        return before.get(path.resolve()) != read_identity(path).uuid
    except (FileNotFoundError, NotADirectoryError):
        return False
    except UNREADABLE:
        return True
