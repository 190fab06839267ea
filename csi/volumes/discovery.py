"""
Discover pools while the driver runs: disks that are mounted, unmounted, moved and added.

A pool whose disk is missing is reported with its problem, and its volumes are not listed any more: the disk may be in
another machine, whose driver lists them. Volumes that are still mounted here stay in the catalog until they are not.
A pool whose disk hangs gets no new volumes until it responds again; each is checked in a lane of its own.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from csi.errors import BadEnvironment, Unavailable
from csi.volumes import health
from csi.volumes.manifest import UNREADABLE
from csi.volumes.pools import Identity, Pool, open_pool, read_identity, read_known, write_known
from csi.volumes.volume_manager import VolumeManager

log = structlog.get_logger()

POLL_SECONDS = 3.0


class Discovery:
    """
    Polls `folders`, whose directories may become pools, the known pools, and `paths`.

    `paths` are pools that may not exist yet; `known_file` records the UUID of the pool at each path.
    """

    def __init__(
        self,
        manager: VolumeManager,
        folders: Sequence[Path],
        *,
        paths: Sequence[Path] = (),
        known_file: Path | None = None,
    ) -> None:
        self._manager = manager
        self._folders = folders
        self._paths = paths
        self._known_file = known_file
        self._problem = ""
        self._real: dict[Path, Path] = {}
        """`paths` with links resolved."""

    async def keep(self) -> None:
        """Poll until cancelled, and continue after any error."""
        # unbounded: a poll every few seconds, not a retry
        while True:
            await self.poll_safely()
            await asyncio.sleep(POLL_SECONDS)

    async def poll_safely(self) -> None:
        """Poll once; a new error is logged, and none is raised."""
        try:
            await self.poll()
            self._problem = ""
        except Exception as error:
            if self._problem != repr(error):
                log.exception("pools.unreadable", error=repr(error))
            self._problem = repr(error)

    async def poll(self) -> None:
        """Check all disks once."""
        catalog = self._manager.catalog
        known = catalog.pools
        await asyncio.gather(*(self._check_disk(pool) for pool in known))
        found = await self._found(known)
        served = {pool.path for pool in catalog.pools}
        missing = [path for path in self._paths if await self._resolved(path) not in served]
        before = read_known(self._known_file) if missing and self._known_file else {}
        for path in missing:
            await self._try(path, before)
        for path in found:
            await self._try(path, {})
        watched = {*found, *self._paths, *served}
        for path in [each for each in catalog.refused if each not in watched]:
            del catalog.refused[path]  # its directory does not exist any more

    async def _check_disk(self, pool: Pool) -> None:
        """Check whether the disk of a known pool is available."""
        catalog = self._manager.catalog
        try:
            problem = await self._manager.read(lambda: health.location_problem(pool), lane=pool.uuid)
        except Unavailable as error:
            if pool.uuid not in catalog.unresponsive:
                log.error("pool.hangs", pool=pool.name, uuid=pool.uuid, path=str(pool.path), error=str(error))
            catalog.unresponsive[pool.uuid] = f"pool {pool.name} at {pool.path}: {error}"
            return
        if catalog.unresponsive.pop(pool.uuid, None):
            log.info("pool.responds", pool=pool.name, uuid=pool.uuid)
        if problem and pool.uuid not in catalog.missing_pools:
            catalog.lose(pool, problem)
            log.warning("pool.missing", pool=pool.name, uuid=pool.uuid, problem=problem)
        elif not problem and pool.uuid in catalog.missing_pools:
            await self._try(pool.path, {str(pool.path): pool.uuid})

    async def _resolved(self, path: Path) -> Path:
        """Resolve links; a path on a hanging disk is used as it was resolved before, or as it is."""
        with contextlib.suppress(Unavailable):
            self._real[path] = Path(await self._manager.read(lambda: os.path.realpath(path), lane=str(path)))
        return self._real.get(path, path)

    async def _try(self, path: Path, known: Mapping[str, str]) -> None:
        """Admit a directory with a pool.json; report once why it cannot be used."""
        catalog, lane = self._manager.catalog, str(path)
        try:
            identity = await self._manager.read(lambda: _identity_at(path), lane=lane)
            if identity is None and known.get(str(self._real.get(path, path))) in {
                pool.uuid for pool in catalog.available_pools
            }:
                catalog.refused.pop(path, None)  # its disk is served from another path now
                return
            self._check(*identity) if identity is not None else None
            pool = await self._manager.read(lambda: open_pool(path, known), lane=lane)
            self._check(pool.uuid, pool.path)
            _, contents, measured = await self._manager.read(lambda: self._manager.read_pool(pool), lane=lane)
            self._check(pool.uuid, pool.path)
            if path in self._paths and self._known_file:
                remembered = read_known(self._known_file) | {str(pool.path): pool.uuid}
                write_known(self._known_file, remembered)
        except (BadEnvironment, Unavailable, OSError) as error:
            if catalog.refused.get(path) != str(error):
                log.error("pool.refused", path=str(path), error=str(error))
            catalog.refused[path] = str(error)
            return
        self._manager.admit(pool, contents, measured)
        catalog.refused.pop(path, None)
        log.info("pool.found", pool=pool.name, uuid=pool.uuid, path=str(pool.path), volumes=len(contents.entries))

    def _check(self, uuid: str, path: Path) -> None:
        """
        Raise BadEnvironment for a duplicate pool, before anything of it is read or changed.

        A pool whose disk was missing may return at another path, once no volume is mounted from the former path.
        """
        catalog = self._manager.catalog
        duplicate = next((each for each in catalog.pools if each.uuid == uuid), None)
        if duplicate is None or (duplicate.uuid in catalog.missing_pools and duplicate.path == path):
            return
        if duplicate.uuid not in catalog.missing_pools:
            raise BadEnvironment(f"{duplicate.path} and {path} are both pool {uuid}: one is a copy of the other")
        if in_use := catalog.of_pool(duplicate):
            raise BadEnvironment(
                f"{path} is pool {uuid}, whose disk was at {duplicate.path} before: {len(in_use)} volumes are still "
                f"mounted from there; it is served from the new path when they are unmounted"
            )

    async def _found(self, known: Sequence[Pool]) -> list[Path]:
        """Return directories with a pool.json whose pool differs from the one last seen at that path."""
        before = {pool.path: pool.uuid for pool in known}
        listed = [path for folder in self._folders for path in await self._listed(folder)]
        return [path for path in listed if await self._new(path, before)]

    async def _listed(self, folder: Path) -> list[Path]:
        with contextlib.suppress(Unavailable):
            return await self._manager.read(lambda: _listed(folder), lane=str(folder))
        return []

    async def _new(self, path: Path, before: Mapping[Path, str]) -> bool:
        """Report whether a path has to be opened; a known pool that hangs is checked separately."""
        try:
            return await self._manager.read(lambda: _is_new(path, before), lane=str(path))
        except Unavailable:
            return path not in before


def _identity_at(path: Path) -> tuple[str, Path] | None:
    """Return the UUID in a directory's pool.json, and its real path; None without a pool.json."""
    try:
        identity: Identity = read_identity(path)
        return identity.uuid, path.resolve()
    except UNREADABLE:
        return None


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_new(path: Path, before: Mapping[Path, str]) -> bool:
    """Report whether a directory has to be opened; an unreadable one is opened, so that it is reported."""
    try:
        return before.get(path.resolve()) != read_identity(path).uuid
    except (FileNotFoundError, NotADirectoryError):
        return False
    except UNREADABLE:
        return True
