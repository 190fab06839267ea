"""
Expand volumes: write the intent, act, mark done.

The bytes are reserved first, so that no other volume gets them meanwhile. An expansion that a crash interrupted is
finished after the driver restarts. Expanding a mounted filesystem is a step of its own, which staging does as well.
"""

from pathlib import Path

import msgspec
import structlog

from csi.errors import CsiError, FailedPrecondition, Internal, OutOfRange, ResourceExhausted, Unavailable
from csi.host.errors import HostError, ImageLockedError, NoSpaceError
from csi.units import readable
from csi.volumes import manifest as manifests
from csi.volumes.catalog import Entry
from csi.volumes.creation import Volumes
from csi.volumes.ledger import Ledger
from csi.volumes.manifest import Manifest
from csi.volumes.node import Node
from csi.volumes.requests import Expanding
from csi.volumes.sizes import exact_size
from csi.volumes.trash import Trash
from csi.volumes.workers import Workers

log = structlog.get_logger()


class Expansion:
    """The operations behind ControllerExpandVolume and NodeExpandVolume."""

    def __init__(self, volumes: Volumes, node: Node, ledger: Ledger, trash: Trash, workers: Workers) -> None:
        self._volumes = volumes
        self._node = node
        self._ledger = ledger
        self._trash = trash
        self._workers = workers
        self._problems: dict[str, str] = {}

    async def expand(self, request: Expanding, entry: Entry) -> Entry:
        """Expand a volume to at least the required size. Raises CsiError, after which the volume is unchanged."""
        manifest = entry.manifest
        if manifest.state != "ready":
            raise FailedPrecondition(f"volume {manifest.handle} is not completely created; it cannot be expanded yet")
        backend = self._volumes.backend(manifest.backend)
        size = exact_size(
            required=request.required,
            limit=request.limit,
            minimum=backend.minimum_bytes(manifest.fs_type),
            size_granularity=backend.size_granularity(manifest.access_type),
        )
        if request.limit and manifest.size_bytes > request.limit:
            raise OutOfRange(
                f"volume {manifest.handle} has {readable(manifest.size_bytes, up=True)}, which is more than the limit "
                f"of {readable(request.limit)}; volumes do not shrink"
            )
        if manifest.size_bytes >= size:
            return entry
        await self._workers.read(lambda: _require_whole(self._volumes, entry), lane=entry.pool.uuid)
        await self._reserve(entry, size)
        try:
            await self._workers.run(lambda: manifests.write(entry.volume_dir, entry.manifest), lane=entry.pool.uuid)
            await self._trash.free_space(entry.pool, await self._volumes.shortfall(entry.pool))
            await self._workers.run(lambda: _finish(self._volumes, entry), lane=entry.pool.uuid)
        except (HostError, OSError) as error:
            entry.manifest = manifest
            await self._workers.run(lambda: manifests.write(entry.volume_dir, manifest), lane=entry.pool.uuid)
            if isinstance(error, ImageLockedError):
                raise
            if isinstance(error, NoSpaceError):
                raise ResourceExhausted(str(error)) from error
            raise Internal(f"volume {manifest.handle} cannot be expanded: {error}") from error
        log.info("volume.enlarged", volume=manifest.handle, size=size)
        return entry

    async def _reserve(self, entry: Entry, size: int) -> None:
        """Reserve the additional bytes."""
        more = size - entry.manifest.allocated_bytes
        try:
            self._ledger.require_more(entry.pool, more, total=size)
        except (ResourceExhausted, OutOfRange, Unavailable):
            await self._volumes.measure(entry.pool)
            self._ledger.require_more(entry.pool, more, total=size)
        entry.manifest = msgspec.structs.replace(entry.manifest, grows_to=size)

    async def node_expand(self, handle: str, path: str, *, required: int) -> Manifest:
        """Expand the filesystem or device at the path to the volume's size. Raises CsiError."""
        entry = await self._node.mounted_at(handle, path)
        manifest = entry.manifest
        if required > manifest.size_bytes:
            raise OutOfRange(
                f"volume {handle} has {readable(manifest.size_bytes)}, and {readable(required, up=True)} are "
                f"requested; ControllerExpandVolume has to come first"
            )
        if "ro" in entry.record.flags:
            raise FailedPrecondition(f"volume {handle} is staged read-only; stage it for writing first")
        backend, shape = self._volumes.backend(manifest.backend), manifest.shape
        where = Path(entry.record.staging or path)
        await self._workers.run(
            lambda: backend.expand_mounted(entry.volume_dir, shape, path=where), lane=entry.pool.uuid
        )
        return manifest

    async def finish_interrupted(self, entry: Entry) -> None:
        """
        Finish an expansion that a crash interrupted, or release its reserved bytes.

        Where another process uses the image, or the disk refuses even that, the bytes stay reserved until the next
        round. Raises nothing.
        """

        def act() -> None:
            try:
                _require_whole(self._volumes, entry)
                _finish(self._volumes, entry)
            except ImageLockedError:
                raise
            except (CsiError, HostError, OSError) as error:
                back = msgspec.structs.replace(entry.manifest, grows_to=0)
                manifests.write(entry.volume_dir, back)
                entry.manifest = back
                log.error("expansion.given_up", volume=back.handle, error=str(error))

        handle = entry.manifest.handle
        try:
            await self._workers.run(act, lane=entry.pool.uuid)
            self._problems.pop(handle, None)
        except (HostError, OSError) as error:
            if self._problems.get(handle) != str(error):
                log.error("expansion.remains_open", volume=handle, error=str(error))
            self._problems[handle] = str(error)


def _require_whole(volumes: Volumes, entry: Entry) -> None:
    """Raise FailedPrecondition for a volume that lost data: an expansion would hide that with zeros at its end."""
    before = msgspec.structs.replace(entry.manifest, grows_to=0)
    for each in volumes.backend(before.backend).health_issues(entry.volume_dir, before.shape, path=None):
        if each.status == "DATA_LOSS":
            raise FailedPrecondition(f"volume {before.handle} has lost data and is not expanded: {each.message}")


def _finish(volumes: Volumes, entry: Entry) -> None:
    """Expand the data to `grows_to`, then update the manifest."""
    done = msgspec.structs.replace(entry.manifest, size_bytes=entry.manifest.grows_to, grows_to=0)
    volumes.backend(done.backend).expand(entry.volume_dir, done.shape)
    manifests.write(entry.volume_dir, done)
    entry.manifest = done
