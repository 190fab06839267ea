"""Create volumes: write the intent, act, mark ready. The retry finishes what a crash interrupted."""

import uuid
from collections.abc import Callable

import msgspec
import structlog

from csi.backends.protocol import Backend
from csi.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
)
from csi.host import files
from csi.host.errors import FormatOptionsError, HostError, ImageLockedError, NoSpaceError, NotReservableError
from csi.units import exact
from csi.volumes import manifest as manifests
from csi.volumes import mount_options
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.ledger import Ledger
from csi.volumes.manifest import Holder, Manifest
from csi.volumes.measuring import Measuring
from csi.volumes.mkfs_options import refused_option
from csi.volumes.pools import Pool
from csi.volumes.requests import FS_TYPE, MODES, Capability, Creation
from csi.volumes.sizes import compatible, exact_size
from csi.volumes.trash import Trash
from csi.volumes.volume_ids import id_of
from csi.volumes.workers import Workers

log = structlog.get_logger()


class Volumes:
    """Creates volumes. Decisions run on the event loop, work on disks in worker threads."""

    def __init__(
        self,
        catalog: Catalog,
        ledger: Ledger,
        trash: Trash,
        workers: Workers,
        *,
        measuring: Measuring,
        backends: dict[str, Backend],
        node_id: str,
    ) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._trash = trash
        self._workers = workers
        self._measuring = measuring
        self._backends = backends
        self._node_id = node_id

    async def create(self, request: Creation) -> Entry:
        """Return the volume of this name, creating it unless it exists. Raises CsiError."""
        entry = self._catalog.of_id(id_of(request.name))
        if entry is None:
            entry = await self._write_intent(request)
        else:
            self._compare(entry.manifest, request)
        if entry.manifest.state == "ready":
            return entry
        await self._provision(entry)
        log.info("volume.created", volume=entry.manifest.handle, size=entry.manifest.size_bytes)
        return entry

    async def _write_intent(self, request: Creation) -> Entry:
        """Choose the pool, reserve the bytes and write the intent."""
        backend = self.backend(request.parameters.backend)
        if problem := backend.problem():
            raise FailedPrecondition(problem)
        if request.nodes is not None and self._node_id not in request.nodes:
            raise ResourceExhausted(
                f"the volume is requested on {', '.join(request.nodes)}, and this node is {self._node_id}"
            )
        access_type, fs_type = check_capabilities(request.capabilities, request, backend)
        size = exact_size(
            required=request.required,
            limit=request.limit,
            minimum=backend.minimum_bytes(fs_type),
            size_granularity=backend.size_granularity(access_type),
        )
        if problem := refused_option(fs_type, request.parameters.mkfs_options):
            raise InvalidArgument(f"parameter mkfsOptions: {problem}")
        pool, enforced = await self._place(backend, self._candidates(request), size)
        # nothing may be awaited from here until its bytes are reserved
        volume_id = id_of(request.name)
        if problem := self._catalog.problem_at(pool, volume_id):
            raise FailedPrecondition(problem)
        now = manifests.now()
        labels = dict(request.parameters.labels)
        manifest = Manifest(
            id=volume_id,
            name=request.name,
            pool=pool.uuid,
            size_bytes=size,
            backend=backend.name,
            access_type="block" if access_type == "block" else "mount",
            fs_type=fs_type,
            fs_uuid=str(uuid.uuid4()) if fs_type else "",
            provisioning=request.parameters.provisioning,
            enforced=enforced,
            parameters=dict(request.parameters.compared),
            mutable_parameters=dict(request.mutable),
            state="creating",
            created=now,
            holder=Holder(labels, now) if labels else None,
        )
        entry = Entry(pool, manifest)
        self._catalog.put(entry)  # its bytes are reserved from here on, before anything else can run

        def write() -> None:
            files.create_directory(entry.volume_dir, durable=False)
            manifests.write(entry.volume_dir, manifest)

        await self._or_undo(entry, write)
        return entry

    async def _place(self, backend: Backend, pools: list[Pool], size: int) -> tuple[Pool, bool]:
        """Return the pool to use and whether it enforces sizes, without waiting for the disk of another pool."""
        enforced: dict[str, bool] = {}
        while True:
            pool = await self._choose(pools, size)
            if pool.uuid in enforced:
                return pool, enforced[pool.uuid]
            path = pool.path
            enforced[pool.uuid] = await self._workers.read(
                lambda path=path: backend.enforces_size(path),  # type: ignore[misc]
                lane=pool.uuid,
            )

    def _candidates(self, request: Creation) -> list[Pool]:
        """Return the named pool, or all, of those whose disk is available."""
        wanted = request.parameters.pool
        pools = [pool for pool in self._catalog.available_pools if not wanted or pool.name == wanted]
        refused = self._catalog.refused.values()  # one of them may be the pool that is wanted: its name cannot be read
        if not pools and wanted and not refused and wanted not in {pool.name for pool in self._catalog.pools}:
            names = ", ".join(pool.name for pool in self._catalog.pools) or "none"
            raise InvalidArgument(f"parameter pool: there is no pool {wanted!r} on this node; its pools are {names}")
        if not pools:
            known = [*self._catalog.missing_pools.values(), *self._catalog.unresponsive.values(), *refused]
            problems = "; ".join(known) or "create one with: mooring pool init"
            raise ResourceExhausted(f"no pool is available on this node: {problems}")
        return pools

    async def _choose(self, pools: list[Pool], size: int) -> Pool:
        """Return the pool with the most free capacity; measure its disk again before refusing."""
        best = max(pools, key=lambda pool: (self._ledger.available(pool), pool.name))
        try:
            self._ledger.require(best, size)
        except (ResourceExhausted, OutOfRange, Unavailable):
            await self.measure(best)
            self._ledger.require(best, size)
        return best

    async def measure(self, pool: Pool) -> None:
        """Measure the pool's disk again if that is quick; otherwise the last measurement is used meanwhile."""
        await self._measuring.refresh(pool)

    async def shortfall(self, pool: Pool) -> int:
        """Return the bytes to purge from the trash for the reserved bytes."""
        if not self._ledger.is_complete(pool):
            await self.measure(pool)
        space = await self._workers.read(lambda: files.filesystem_space(pool.path), lane=pool.uuid)
        return self._ledger.shortfall(pool, space.available)

    async def _provision(self, entry: Entry) -> None:
        """Create the data and mark the volume ready. After a failure nothing is left, and no bytes stay reserved."""
        backend, shape = self.backend(entry.manifest.backend), entry.manifest.shape
        ready = msgspec.structs.replace(entry.manifest, state="ready")

        def create() -> None:
            backend.create(entry.volume_dir, shape)

        def acknowledge() -> None:
            manifests.write(entry.volume_dir, ready)
            files.sync_directory(entry.volume_dir.parent)

        try:
            await self._trash.free_space(entry.pool, await self.shortfall(entry.pool))
            await self._workers.run(create, lane=entry.pool.uuid)
        except NoSpaceError:
            if not await self._trash.free_space(entry.pool, shape.size_bytes):
                await self.undo(entry)
                raise ResourceExhausted(f"the disk of pool {entry.pool.name} is full; free some space on it") from None
            await self._or_undo(entry, create)
        except ImageLockedError:
            raise  # the intent stays, and the retry finishes it
        except NotReservableError as error:
            await self.undo(entry)
            raise FailedPrecondition(str(error)) from error
        except FormatOptionsError as error:
            await self.undo(entry)
            raise InvalidArgument(f"parameter mkfsOptions: {error}") from error
        except (HostError, OSError) as error:
            await self.undo(entry)
            raise Internal(f"volume {entry.manifest.handle} cannot be created: {error}") from error
        await self._or_undo(entry, acknowledge)
        entry.manifest = ready

    async def _or_undo(self, entry: Entry, work: Callable[[], None]) -> None:
        """Run an operation; when it fails, leave nothing behind."""
        try:
            await self._workers.run(work, lane=entry.pool.uuid)
        except NoSpaceError as error:
            await self.undo(entry)
            raise ResourceExhausted(str(error)) from error
        except (HostError, OSError) as error:
            await self.undo(entry)
            raise Internal(f"volume {entry.manifest.handle} cannot be created: {error}") from error

    async def undo(self, entry: Entry) -> None:
        """Remove a volume that was never ready. Its reservation is released even if the disk fails."""
        try:
            await self._workers.run(lambda: files.remove_tree(entry.pool.path, entry.volume_dir), lane=entry.pool.uuid)
        except (HostError, OSError) as error:
            log.error("volume.remains", volume=entry.manifest.handle, path=str(entry.volume_dir), error=str(error))
        self._catalog.drop(entry.manifest.handle)

    def _compare(self, manifest: Manifest, request: Creation) -> None:
        """Check that an existing volume is equal to the request. Raises AlreadyExists."""
        parameters = request.parameters
        capabilities = request.capabilities
        differs = ""
        if not compatible(manifest.size_bytes, required=request.required, limit=request.limit):
            differs = f"it has {exact(manifest.size_bytes)}"
        elif manifest.parameters != dict(parameters.compared):
            differs = "its parameters differ"
        elif any(each.access_type != manifest.access_type for each in capabilities):
            differs = f"it is a {manifest.access_type} volume"
        elif any(each.fs_type not in {"", manifest.fs_type} for each in capabilities) and manifest.fs_type:
            differs = f"its filesystem is {manifest.fs_type}"
        elif request.nodes is not None and self._node_id not in request.nodes:
            differs = f"it is on {self._node_id}"
        if differs:
            raise AlreadyExists(f"volume {request.name} exists already, and {differs}")

    def backend(self, name: str) -> Backend:
        """Return the backend of this name."""
        return self._backends[name]


def check_capabilities(capabilities: tuple[Capability, ...], request: Creation, backend: Backend) -> tuple[str, str]:
    """Return the access type and filesystem that support all capabilities. Raises InvalidArgument."""
    kinds = {each.access_type for each in capabilities}
    if len(kinds) != 1:
        raise InvalidArgument("a volume is either mounted or raw, not both")
    for each in capabilities:
        if problem := unsupported(each, backend):
            raise InvalidArgument(problem)
    (access_type,) = kinds
    fs_type = "" if access_type == "block" or not backend.fs_types() else _fs_type(capabilities, request, backend)
    for each in capabilities:
        if problem := mount_options.refused(fs_type, each.flags):
            raise InvalidArgument(problem)
    return access_type, fs_type


def _fs_type(capabilities: tuple[Capability, ...], request: Creation, backend: Backend) -> str:
    requested = {request.parameters.fs_type, *(each.fs_type for each in capabilities)} - {""}
    if len(requested) > 1:
        raise InvalidArgument(f"the filesystems {', '.join(sorted(requested))} are requested at once")
    fs_type = requested.pop() if requested else backend.fs_types()[0]
    if fs_type not in backend.fs_types():
        raise InvalidArgument(f"parameter {FS_TYPE}: {fs_type!r} is not one of {', '.join(backend.fs_types())}")
    return fs_type


def unsupported(capability: Capability, backend: Backend) -> str:
    """Return why the backend does not support the capability; "" when it does."""
    if capability.mode not in MODES:
        return f"access mode {capability.mode} is not possible: the volume is on one node's disk"
    if capability.access_type not in backend.access_types:
        return f"raw block volumes are not offered by backend {backend.name}; use backend loop"
    if capability.fs_type and backend.fs_types() and capability.fs_type not in backend.fs_types():
        return f"filesystem {capability.fs_type!r} is not one of {', '.join(backend.fs_types())}"
    return ""
