"""
Staging and publishing on this node.

What is mounted is always read from the mount table. Records (`node_record`) hold how a volume was mounted; they are
written before a mount and after an unmount, and neither waits for the pool's disk.
"""

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from csi.backends import mount_facts, teardown
from csi.backends.mount_facts import Identity
from csi.backends.protocol import Usage
from csi.backends.teardown import Removal
from csi.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from csi.host import loopdev, mounts
from csi.host.errors import AlreadyMountedError, DuplicateUuidError, HostError, UnsafePathError
from csi.volumes import mount_options
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.creation import Volumes, unsupported
from csi.volumes.node_record import NodeRecord, NodeRecords, Publication
from csi.volumes.pools import Pool
from csi.volumes.requests import SINGLE_WRITER, Capability, Publishing, Staging
from csi.volumes.volume_ids import Handle, parse_handle
from csi.volumes.workers import Workers

NO_VOLUME: Final = "volume {} does not exist on this node"
NOT_READY: Final = "volume {} is not completely created; CreateVolume has to be repeated first"


class Node:
    """The operations behind the Node service."""

    def __init__(
        self, catalog: Catalog, volumes: Volumes, workers: Workers, *, records: NodeRecords, own_paths: Sequence[Path]
    ) -> None:
        """`own_paths` are directories of the driver itself, besides its pools, that nothing is mounted over."""
        self._catalog = catalog
        self._volumes = volumes
        self._workers = workers
        self._records = records
        self._own_paths = own_paths

    def remember_pools(self, uuids: Iterable[str]) -> None:
        """Remember pools that this node served before. Blocks."""
        for uuid in uuids:
            self._records.keep_pool(uuid)

    def admit_pool(self, pool: Pool) -> None:
        """Remember a pool that is served: its volumes can be unpublished and unstaged when it is missing."""
        self._records.keep_pool(pool.uuid)

    def admit(self, entry: Entry) -> None:
        """Give a volume that was just read its record; one that a former version kept in the pool is taken over."""
        self._records.migrate(entry.manifest.handle, entry.record, entry.volume_dir)
        entry.record = self._records.get(entry.manifest.handle)

    async def forget(self, handle: str) -> None:
        """Drop the record of a deleted volume."""
        self._records.forget(handle)
        await self._workers.run(lambda: self._records.write(handle))

    async def stage(self, request: Staging) -> None:
        """Stage a volume."""
        entry = self._ready(request.handle)
        self._check(entry, request.capability)
        path = Path(request.staging)
        record = entry.record
        if record.staging and record.staging != request.staging and await self._is_staged(entry, record.staging):
            raise FailedPrecondition(f"volume {request.handle} is staged at {record.staging}; unstage it there first")
        differs = record.staging == request.staging and record.flags != request.capability.flags
        if differs and await self._is_staged(entry, request.staging):
            raise AlreadyExists(f"volume {request.handle} is staged there with other mount flags")
        raw = self._is_raw(request.handle)
        await self._workers.read(lambda: self._refuse_staging(path), lane=entry.pool.uuid)
        wanted = msgspec.structs.replace(record, staging=request.staging, flags=request.capability.flags, raw=raw)
        backend, shape, flags = self._volumes.backend(entry.manifest.backend), entry.manifest.shape, wanted.flags
        await self._keep(request.handle, wanted)
        try:
            await self._workers.run(
                lambda: backend.stage(entry.volume_dir, shape, staging=path, mount_flags=flags), lane=entry.pool.uuid
            )
        except DuplicateUuidError as error:
            await self._keep(request.handle, record)
            others = [each for each in self._catalog.all() if str(each.volume_dir / "image") == error.backing]
            name = f" (that is volume {others[0].manifest.handle})" if others else ""
            raise FailedPrecondition(f"{error}{name}") from error
        except HostError as error:
            foreign = isinstance(error, AlreadyMountedError | UnsafePathError)
            if foreign or not await self._is_staged(entry, request.staging):
                await self._keep(request.handle, record)  # another filesystem is mounted there
            raise

    async def unstage(self, handle: str, staging: str) -> None:
        """Unstage a volume; idempotent."""
        volume = await self._removable(handle, staging)
        record = self._records.get(handle)
        published = [each.target for each in record.publications]
        lane = handle.partition(".")[0]
        if shown := await self._workers.read(lambda: mount_facts.found_at(published, volume), lane=lane):
            raise FailedPrecondition(f"volume {handle} is still published at {shown}; unpublish it first")
        elsewhere = record.staging not in {"", staging}
        removal = Removal(volume, Path(staging), recorded=record.staging == staging, others=self._others(handle))
        devices = not elsewhere and self._may_have_devices(handle)
        raw = record.raw or self._is_raw(handle)
        await self._workers.run(lambda: teardown.unstage(removal, mounted=not raw, devices=devices), lane=lane)
        await self._keep(handle, record.unstaged(staging))

    async def publish(self, request: Publishing) -> None:
        """Mount the staged volume at a target, by the access-mode table of the specification."""
        entry = self._ready(request.handle)
        self._check(entry, request.capability)
        await self._workers.read(lambda: self._refuse_target(request), lane=entry.pool.uuid)
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
        before = entry.record
        await self._keep(request.handle, record)
        try:
            await self._workers.run(
                lambda: backend.publish(
                    entry.volume_dir,
                    shape,
                    staging=Path(request.staging),
                    target=Path(request.target),
                    read_only=request.read_only,
                    mount_flags=capability.flags,
                ),
                lane=entry.pool.uuid,
            )
        except (AlreadyMountedError, UnsafePathError):
            await self._keep(request.handle, before)  # as in stage
            raise
        except HostError:
            if not await self._is_published(entry, request.target):
                await self._keep(request.handle, before.failed(request.target))
            raise

    async def unpublish(self, handle: str, target: str) -> None:
        """Unpublish a volume from the target; idempotent."""
        volume = await self._removable(handle, target)
        record = self._records.get(handle)
        lane = handle.partition(".")[0]
        if record.staging == target and await self._workers.read(
            lambda: bool(mount_facts.found_at([target], volume)), lane=lane
        ):
            raise FailedPrecondition(f"volume {handle} is staged at {target}, not published; unstage it there")
        recorded = record.published(target)
        removal = Removal(
            volume,
            Path(target),
            recorded=recorded,
            mount_point=recorded or target in record.mount_points,
            others=self._others(handle),
        )
        await self._workers.run(lambda: teardown.unpublish(removal), lane=lane)
        await self._keep(handle, record.without(target))

    async def usage(self, handle: str, path: str) -> Usage:
        """Return capacity and inode usage of a volume at the path where it is staged or published."""
        entry = await self.mounted_at(handle, path)
        backend, shape, where = self._volumes.backend(entry.manifest.backend), entry.manifest.shape, Path(path)
        return await self._workers.read(
            lambda: backend.usage(entry.volume_dir, shape, path=where), lane=entry.pool.uuid
        )

    async def mounted_at(self, handle: str, path: str) -> Entry:
        """Return the volume, if it is staged or published at the path. Raises NotFound."""
        entry = self._known(handle)
        if not path.startswith("/") or not (
            await self._is_published(entry, path)
            or (path == entry.record.staging and await self._is_staged(entry, path))
        ):
            raise NotFound(f"volume {handle} is not mounted at {path}")
        return entry

    async def in_use(self, entry: Entry) -> str:
        """
        Return a path at which this node uses the volume; "" when there is none.

        The whole mount table is searched, whatever the record holds. A raw volume is also in use while a loop device of
        this driver is attached to its image: an open device needs no mount.
        """
        volume, record = _identity(entry), entry.record
        recorded = [record.staging, *(each.target for each in record.publications)]
        raw = entry.manifest.access_type == "block"
        has_devices = self._volumes.backend(entry.manifest.backend).has_devices

        def search() -> str:
            used = mount_facts.used_at(volume, devices=has_devices) or mount_facts.found_at(
                filter(None, recorded), volume
            )
            if used:
                return used
            devices = loopdev.find(entry.volume_dir / "image", tag=volume.tag) if raw else []
            return str(devices[0].path) if devices else ""

        return await self._workers.read(search, lane=entry.pool.uuid)

    async def _is_staged(self, entry: Entry, path: str) -> bool:
        """Report whether the volume is staged at the path; for a raw volume, which is not mounted, by its record."""
        if entry.manifest.access_type == "block" and path != entry.record.staging:
            return False
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape
        return await self._workers.read(
            lambda: backend.is_staged(entry.volume_dir, shape, staging=Path(path)), lane=entry.pool.uuid
        )

    async def _is_published(self, entry: Entry, path: str) -> bool:
        backend, shape = self._volumes.backend(entry.manifest.backend), entry.manifest.shape
        return await self._workers.read(
            lambda: backend.is_published(entry.volume_dir, shape, target=Path(path)), lane=entry.pool.uuid
        )

    async def _keep(self, handle: str, record: NodeRecord) -> None:
        """Use this record from now on, and put it on the disk as well as possible."""
        self._records.keep(handle, record)
        if (entry := self._catalog.get(handle)) is not None:
            entry.record = self._records.get(handle)
            in_use = entry.record.staging or entry.record.publications
            if entry.pool.uuid in self._catalog.missing_pools and not in_use:
                self._catalog.drop(handle)  # when its disk is available again, it is read again
        await self._workers.run(lambda: self._records.write(handle))

    async def _removable(self, handle: str, path: str) -> Identity:
        """
        Identify a volume to unpublish or unstage; it need not exist any more.

        Raises NotFound for a handle that nothing knows: no volume, pool or record, and no mount at the path.
        """
        parsed = parse_handle(handle)
        if parsed is None:
            raise NotFound(NO_VOLUME.format(handle))
        volume = self._identify(handle, parsed)
        known = self._records.knows_pool(parsed.pool) or self._records.knows(handle)
        if volume.volume_dir is None and not known:
            if not await self._workers.read(lambda: mount_facts.found_at([path], volume), lane=parsed.pool):
                raise NotFound(NO_VOLUME.format(handle))
            self._records.keep(handle, NodeRecord())  # known from now on, so that the call can be repeated
        return volume

    def _identify(self, handle: str, parsed: Handle) -> Identity:
        pool = next((pool for pool in self._catalog.pools if pool.uuid == parsed.pool), None)
        return Identity(handle, parsed.id, pool.volumes / parsed.id if pool is not None else None)

    def _others(self, handle: str) -> list[Identity]:
        """Return known volumes of the same id in other pools."""
        parsed = parse_handle(handle)
        same = [self._catalog.get(f"{pool.uuid}.{parsed.id}") for pool in self._catalog.pools if parsed is not None]
        return [_identity(entry) for entry in same if entry is not None and entry.manifest.handle != handle]

    def _may_have_devices(self, handle: str) -> bool:
        """Report whether loop devices may be attached to the volume, also when it is unknown."""
        entry = self._catalog.get(handle)
        return entry is None or self._volumes.backend(entry.manifest.backend).has_devices

    def _refuse_staging(self, path: Path) -> None:
        """Raise InvalidArgument for a staging path at which nothing may be mounted."""
        if not _is_directory(path):
            raise InvalidArgument(f"the staging path {path} is not a directory; the caller has to make it")
        self._refuse_own(path)

    def _refuse_target(self, request: Publishing) -> None:
        """Raise InvalidArgument for a target path at which nothing may be mounted."""
        target = Path(request.target)
        if mounts.resolved_parent(target) == mounts.resolved_parent(Path(request.staging)):
            raise InvalidArgument(f"the target path {target} is the staging path; choose another path")
        self._refuse_own(target)

    def _is_raw(self, handle: str) -> bool:
        """Report whether it is known that the volume is never mounted at a staging path."""
        entry = self._catalog.get(handle)
        return entry is not None and entry.manifest.access_type == "block"

    def _refuse_own(self, path: Path) -> None:
        """
        Raise InvalidArgument where a mount would hide a directory of the driver, or be inside a pool or a volume.

        In a volume, wherever it is mounted, the mount point would be among its files and keep it from being unmounted.
        """
        where = mounts.resolved_parent(path)
        pools = [pool.path for pool in self._catalog.pools]
        for own in (*pools, *self._own_paths):
            if own.is_relative_to(where) or (own in pools and where.is_relative_to(own)):
                raise InvalidArgument(
                    f"{path} is, holds or is in {own}, which is the driver's own; choose another path"
                )
        volumes = [_identity(entry) for entry in self._catalog.all()]
        if handle := mount_facts.volume_containing(where.parent, volumes):
            raise InvalidArgument(f"{path} is among the files of volume {handle}; choose another path")

    def _known(self, handle: str) -> Entry:
        entry = self._catalog.get(handle)
        if entry is None:
            raise NotFound(NO_VOLUME.format(handle))
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
        problem = unsupported(capability, backend) or mount_options.refused(entry.manifest.fs_type, capability.flags)
        if problem:
            raise FailedPrecondition(problem)


def _is_directory(path: Path) -> bool:
    """Report whether the path is a link, which mount(2) would follow; False where that is unknown."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _identity(entry: Entry) -> Identity:
    return Identity(entry.manifest.handle, entry.manifest.id, entry.volume_dir)
