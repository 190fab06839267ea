"""
Import existing data as a volume of its pool: it is renamed, not copied.

Only items of the folder ``import`` of a pool are imported, by their names: so no caller chooses a path, and the rename
stays on one disk. The intent is written first, without an owner; the retry finishes what a crash interrupted. A refused
item stays where it is, and reserves no bytes.

The data is not changed, with one exception: a filesystem gets a new UUID when it has none, or when a volume of this
node (also in the trash) or a filesystem mounted on it has the same one, since the kernel does not mount both at a time.
"""

import errno
import os
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from csi.backends.existing import Existing, examine
from csi.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
)
from csi.host import files, filesystem_uuids, locks
from csi.host.errors import HostError, UuidChangeError
from csi.units import readable
from csi.volumes import manifest as manifests
from csi.volumes.catalog import Catalog, Entry
from csi.volumes.creation import Volumes
from csi.volumes.ledger import SHARE, Ledger
from csi.volumes.manifest import Holder, Manifest
from csi.volumes.pools import Pool
from csi.volumes.trash import Trash
from csi.volumes.volume_ids import id_of
from csi.volumes.workers import Workers

log = structlog.get_logger()

FOLDER: Final = "import"
_ITEM: Final = re.compile(r"(?!\.)[^/\x00-\x1f\x7f]{1,255}")
_PRIVATE_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Importing:
    """One Import. `item` is a name in the folder ``import`` of the pool; `required` bytes are for a directory."""

    name: str
    item: str
    pool: str
    required: int
    raw: bool
    labels: tuple[tuple[str, str], ...]


class Imports:
    """Imports directories and images as volumes."""

    def __init__(self, catalog: Catalog, ledger: Ledger, volumes: Volumes, trash: Trash, workers: Workers) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._volumes = volumes
        self._trash = trash
        self._workers = workers

    async def import_volume(self, request: Importing) -> Entry:
        """Return the imported volume, importing it unless an earlier attempt did. Raises CsiError."""
        entry = self._catalog.of_id(id_of(request.name))
        if entry is None:
            entry = await self._write_intent(request)
        elif entry.manifest.parameters.get(FOLDER) != request.item:
            raise AlreadyExists(f"volume {request.name} exists already, and was not imported from {request.item}")
        if entry.manifest.state == "ready":
            return entry
        await self._move(entry, request)
        log.info("volume.imported", volume=entry.manifest.handle, size=entry.manifest.size_bytes)
        return entry

    async def _write_intent(self, request: Importing) -> Entry:
        """Check the item, reserve its size, and write the intent."""
        pool, source = await self._source(request)
        found = await self._workers.walk(f"import-{pool.uuid}", lambda: examine(source, raw=request.raw))
        if problem := self._volumes.backend(found.backend).problem():
            raise FailedPrecondition(problem)
        if problem := self._catalog.problem_at(pool, id_of(request.name)):
            raise FailedPrecondition(problem)
        taken = await self._taken_elsewhere(found)
        await self._volumes.measure(pool)
        # nothing may be awaited from here until its bytes are reserved
        taken |= {entry.manifest.fs_uuid for entry in self._catalog.all()}
        manifest = _manifest(request, pool, found, taken=taken)
        self._require_capacity(pool, found, manifest.size_bytes)
        entry = Entry(pool, manifest)
        self._catalog.put(entry)

        def write() -> None:
            files.create_directory(entry.volume_dir)
            manifests.write(entry.volume_dir, manifest)
            files.sync_directory(entry.volume_dir)

        try:
            await self._workers.run(write, lane=pool.uuid)
        except (HostError, OSError) as error:
            await self._volumes.undo(entry)
            if isinstance(error, HostError):
                raise
            raise Internal(f"volume {manifest.handle} cannot be created: {error}") from error
        except BaseException:
            self._catalog.drop(manifest.handle)
            raise
        return entry

    async def _taken_elsewhere(self, found: Existing) -> set[str]:
        """Return UUIDs of filesystems of this kind that are in the trash or mounted, as far as they matter."""
        if not found.fs_type:
            return set()
        taken = {each.manifest.fs_uuid for each in await self._trash.all()}
        mounted = await self._workers.read(lambda: filesystem_uuids.mounted_from(found.fs_type, found.fs_uuid))
        return taken | ({found.fs_uuid} if mounted else set())

    async def _source(self, request: Importing) -> tuple[Pool, Path]:
        if not _ITEM.fullmatch(request.item):
            raise InvalidArgument(f"{request.item!r} is no name of something in the folder {FOLDER} of a pool")
        pools = [pool for pool in self._catalog.available_pools if request.pool in {"", pool.name, pool.uuid}]
        having = [pool for pool in pools if await self._contains(pool, request.item)]
        if len(having) > 1:
            names = ", ".join(pool.name for pool in having)
            raise FailedPrecondition(f"several pools have {FOLDER}/{request.item} ({names}); name one")
        if not having:
            places = ", ".join(str(pool.path / FOLDER) for pool in pools) or "no available pool"
            raise NotFound(f"there is no {request.item} to import on this node; looked in {places}")
        folder = having[0].path / FOLDER
        if await self._workers.read(folder.is_symlink, lane=having[0].uuid):
            raise FailedPrecondition(f"{folder} is a link, which is not followed; make it a directory")
        return having[0], folder / request.item

    async def _contains(self, pool: Pool, item: str) -> bool:
        return await self._workers.read(lambda: os.path.lexists(pool.path / FOLDER / item), lane=pool.uuid)

    def _require_capacity(self, pool: Pool, found: Existing, size: int) -> None:
        """Check the free capacity (I4); the bytes of the item are on the disk already and count from now on."""
        self._ledger.refuse_quarantined(pool)
        brings = 0 if pool.capacity_bytes is not None else found.used_bytes * SHARE // 100
        if (available := self._ledger.available(pool) + brings) < size:
            self._ledger.refuse_for_now(pool)
            raise ResourceExhausted(
                f"pool {pool.name} can reserve {readable(available)} more, and {readable(size, up=True)} are "
                f"requested; {self._ledger.advice(pool)}"
            )

    async def _move(self, entry: Entry, request: Importing) -> None:
        """Move the item into the pool, then record the volume and its owner."""
        manifest, now = entry.manifest, manifests.now()
        source = entry.pool.path / FOLDER / request.item
        target = entry.volume_dir / self._volumes.backend(manifest.backend).data_name
        ready = msgspec.structs.replace(manifest, state="ready", holder=Holder(dict(request.labels), now))

        def move() -> None:
            if not target.exists():
                if source.is_file():
                    source.chmod(_PRIVATE_FILE)
                if manifest.fs_type:
                    with locks.locked(source) as image:
                        filesystem_uuids.change(image, fs_type=manifest.fs_type, uuid=manifest.fs_uuid)
                files.rename_durably(source, target)
            manifests.write(entry.volume_dir, ready)
            files.sync_directory(entry.volume_dir.parent)

        try:
            await self._workers.run(move, lane=entry.pool.uuid)
        except (HostError, OSError) as error:
            if not os.path.lexists(target):
                await self._volumes.undo(entry)
            raise _refusal(error, source, entry.pool) from error
        entry.manifest = ready
        await self._volumes.measure(entry.pool)


def _refusal(error: HostError | OSError, source: Path, pool: Pool) -> Exception:
    """Return the error for the caller after a failure between the intent and the end."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"there is no {source} any more; put it back, and try again")
    if isinstance(error, UuidChangeError):
        return FailedPrecondition(
            f"{error}; another filesystem on this node has the same UUID, so it cannot be imported as it is"
        )
    if isinstance(error, OSError) and error.errno in {errno.EXDEV, errno.EBUSY}:
        return FailedPrecondition(
            f"{source} cannot be moved into pool {pool.name}: it is a filesystem of its own; copy its files "
            f"into a plain directory beside it"
        )
    if isinstance(error, PermissionError):
        return FailedPrecondition(
            f"{source} cannot be moved into pool {pool.name}: {error.strerror}; it may be immutable, see lsattr"
        )
    return error if isinstance(error, HostError) else Internal(f"{source} cannot be imported: {error}")


def _manifest(request: Importing, pool: Pool, found: Existing, *, taken: Collection[str]) -> Manifest:
    """Return the intent. `taken` are UUIDs of filesystems that it must not have."""
    size = found.size_bytes or request.required
    if not size:
        raise InvalidArgument("a directory has no size of its own; give the size of the volume")
    if size < found.used_bytes and not found.size_bytes:
        raise OutOfRange(
            f"{request.item} occupies {readable(found.used_bytes, up=True)}, and the volume would have {readable(size)}"
        )
    return Manifest(
        id=id_of(request.name),
        name=request.name,
        pool=pool.uuid,
        size_bytes=size,
        backend=found.backend,
        access_type="block" if found.access_type == "block" else "mount",
        fs_type=found.fs_type,
        fs_uuid=str(uuid.uuid4()) if found.fs_type and found.fs_uuid in {"", *taken} else found.fs_uuid,
        provisioning="thin",
        enforced=found.enforced,
        parameters={"backend": found.backend, FOLDER: request.item},
        state="creating",
        created=manifests.now(),
    )
