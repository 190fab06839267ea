"""
Staging and publishing on this node.

Each step is written down before it is done, and every answer looks at the mount table: after a crash the record may
promise more than there is, never less.
"""

from pathlib import Path
from typing import Final

import msgspec

from csi.backends.protocol import Usage
from csi.engine.catalog import Catalog, Entry
from csi.engine.node_record import NodeRecord, Publication, write_record
from csi.engine.requests import SINGLE_WRITER, Capability, Publishing, Staging
from csi.engine.volumes import Volumes, unsupported
from csi.engine.workers import Workers
from csi.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from csi.host import mounts

NOT_READY: Final = "volume {} is not completely made; CreateVolume has to be repeated first"


class Node:
    """The engine behind the Node service."""

    def __init__(self, catalog: Catalog, volumes: Volumes, workers: Workers) -> None:
        self._catalog = catalog
        self._volumes = volumes
        self._workers = workers

    async def stage(self, request: Staging) -> None:
        """Mount once for the node."""
        entry = self._ready(request.handle)
        self._check(entry, request.capability)
        path = Path(request.staging)
        record = entry.record
        if record.staging and record.staging != request.staging and await self._is_staged(entry, record.staging):
            raise FailedPrecondition(f"volume {request.handle} is staged at {record.staging}; unstage it there first")
        differs = record.staging == request.staging and record.flags != request.capability.flags
        if differs and await self._is_staged(entry, request.staging):
            raise AlreadyExists(f"volume {request.handle} is staged there with other mount flags")
        if not path.is_dir():
            raise InvalidArgument(f"the staging path {path} is not a directory; the caller has to make it")
        wanted = msgspec.structs.replace(record, staging=request.staging, flags=request.capability.flags)
        backend, shape, flags = self._volumes.backend(entry.manifest.backend), entry.manifest.shape, wanted.flags

        def act() -> None:
            write_record(entry.home, wanted)
            backend.stage(entry.home, shape, staging=path, mount_flags=flags)

        entry.record = wanted
        await self._workers.run(act)

    async def unstage(self, handle: str, staging: str) -> None:
        """Unmount; not staged is fine."""
        entry = self._known(handle)
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape
        shown = [each.target for each in entry.record.publications if await self._is_published(entry, each.target)]
        if shown:
            raise FailedPrecondition(f"volume {handle} is still published at {shown[0]}; unpublish it first")

        def act() -> None:
            if backend.is_staged(entry.home, shape, staging=Path(staging)):
                backend.unstage(entry.home, shape, staging=Path(staging))
            write_record(entry.home, NodeRecord())

        await self._workers.run(act)
        entry.record = NodeRecord()

    async def publish(self, request: Publishing) -> None:
        """Show the staged volume at a target, by the access-mode table of the specification."""
        entry = self._ready(request.handle)
        self._check(entry, request.capability)
        if not await self._is_staged(entry, request.staging):
            raise FailedPrecondition(f"volume {request.handle} is not staged at {request.staging}; stage it first")
        capability = request.capability
        wanted = Publication(request.target, request.read_only, capability.mode, capability.flags)
        for each in entry.record.publications:
            if not await self._is_published(entry, each.target):
                continue
            if each.target == request.target and each != wanted:
                raise AlreadyExists(f"volume {request.handle} is published at {request.target} in another way")
            if each.target != request.target and SINGLE_WRITER in {each.mode, capability.mode}:
                message = f"volume {request.handle} is published at {each.target} and may be at one path only"
                raise FailedPrecondition(message)
        kept = entry.record.without(request.target)
        record = msgspec.structs.replace(kept, publications=(*kept.publications, wanted))
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape

        def act() -> None:
            write_record(entry.home, record)
            backend.publish(
                entry.home,
                shape,
                staging=Path(request.staging),
                target=Path(request.target),
                read_only=request.read_only,
                mount_flags=capability.flags,
            )

        entry.record = record
        await self._workers.run(act)

    async def unpublish(self, handle: str, target: str) -> None:
        """Take it away from the target; not there is fine."""
        entry = self._known(handle)
        backend, shape, path = self._volumes.backend(entry.manifest.backend), entry.manifest.shape, Path(target)
        recorded = any(each.target == target for each in entry.record.publications)
        record = entry.record.without(target)

        def act() -> None:
            foreign = mounts.is_mount(path) and not backend.is_published(entry.home, shape, target=path)
            if foreign and not recorded:
                raise FailedPrecondition(f"what is mounted at {target} is not volume {handle}; it is left alone")
            if recorded or not foreign:
                backend.unpublish(entry.home, shape, target=path)
            write_record(entry.home, record)

        await self._workers.run(act)
        entry.record = record

    async def usage(self, handle: str, path: str) -> Usage:
        """How full it is, where it is staged or published."""
        entry = await self.shown_at(handle, path)
        backend, shape, where = self._volumes.backend(entry.manifest.backend), entry.manifest.shape, Path(path)
        return await self._workers.look(lambda: backend.usage(entry.home, shape, path=where))

    async def shown_at(self, handle: str, path: str) -> Entry:
        """The volume, if this node shows it at the path. Raises NotFound."""
        entry = self._known(handle)
        if not path.startswith("/") or not (
            await self._is_published(entry, path)
            or (path == entry.record.staging and await self._is_staged(entry, path))
        ):
            raise NotFound(f"volume {handle} is not mounted at {path}")
        return entry

    async def in_use(self, entry: Entry) -> str:
        """A path at which this node shows the volume; "" when there is none."""
        record = entry.record
        for each in record.publications:
            if await self._is_published(entry, each.target):
                return each.target
        return record.staging if record.staging and await self._is_staged(entry, record.staging) else ""

    async def _is_staged(self, entry: Entry, path: str) -> bool:
        """For a raw volume the path itself shows nothing: there the record tells where."""
        if entry.manifest.access_type == "block" and path != entry.record.staging:
            return False
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape
        return await self._workers.look(lambda: backend.is_staged(entry.home, shape, staging=Path(path)))

    async def _is_published(self, entry: Entry, path: str) -> bool:
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape
        return await self._workers.look(lambda: backend.is_published(entry.home, shape, target=Path(path)))

    def _known(self, handle: str) -> Entry:
        entry = self._catalog.get(handle)
        if entry is None:
            raise NotFound(f"volume {handle} does not exist on this node")
        return entry

    def _ready(self, handle: str) -> Entry:
        entry = self._known(handle)
        if entry.manifest.state != "ready":
            raise FailedPrecondition(NOT_READY.format(handle))
        return entry

    def _check(self, entry: Entry, capability: Capability) -> None:
        backend = self._volumes.backend(entry.manifest.backend)
        if capability.access_type != entry.manifest.access_type:
            raise InvalidArgument(f"volume {entry.manifest.handle} is a {entry.manifest.access_type} volume")
        if problem := unsupported(capability, backend):
            raise FailedPrecondition(problem)
