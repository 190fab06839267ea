"""
Where this node has a volume mounted, by handle, in a directory beside the driver's socket.

The mount table decides what is mounted; a record adds what it does not contain: the access mode and flags, and which
mount points this driver created. Records are not in the pool, whose disk may be full or missing when they change, and
none is needed to unpublish or unstage a volume. One that cannot be written is kept in memory and logged.
"""

import contextlib
from pathlib import Path
from typing import Final

import msgspec
import structlog

from csi import limits
from csi.host import files
from csi.host.errors import HostError
from csi.volumes.volume_ids import parse_handle

log = structlog.get_logger()

FILE: Final = "node.json"
"""The record's name in a volume's directory, where former versions kept it."""

FOLDER: Final = "node-records"
POOLS: Final = "pools"
"""Beside the records: the UUIDs of all pools that this node served, one a line."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

MAX_BYTES: Final = limits.NODE_RECORD_BYTES
"""Size of a record that is still read."""


class Publication(msgspec.Struct, frozen=True):
    """One target path and how the volume is published there."""

    target: str
    read_only: bool
    mode: str
    flags: tuple[str, ...] = ()


class NodeRecord(msgspec.Struct, frozen=True):
    """
    The staging path ("" when not staged), how it is staged, and the targets.

    `raw` is whether nothing is mounted at the staging path. `boot` is the kernel's boot id; `mount_points` are targets
    with a mount point of ours and no mount: from before the machine started again, or of a publish that failed.
    """

    staging: str = ""
    flags: tuple[str, ...] = ()
    publications: tuple[Publication, ...] = ()
    mount_points: tuple[str, ...] = ()
    boot: str = ""
    raw: bool = False

    def without(self, target: str) -> "NodeRecord":
        """Return the record after an unpublish."""
        kept = tuple(each for each in self.publications if each.target != target)
        mount_points = tuple(each for each in self.mount_points if each != target)
        return msgspec.structs.replace(self, publications=kept, mount_points=mount_points)

    def unstaged(self, staging: str) -> "NodeRecord":
        """Return the record after an unstage at that path; staged elsewhere, it stays as it is."""
        return self if self.staging != staging else msgspec.structs.replace(self, staging="", flags=(), raw=False)

    def failed(self, target: str) -> "NodeRecord":
        """Return the record after a publish that failed: a mount point may be there, and no mount of ours."""
        rest = self.without(target)
        return msgspec.structs.replace(rest, mount_points=(*rest.mount_points, target))

    def published(self, target: str) -> bool:
        """Whether the volume was published there since the machine started."""
        return any(each.target == target for each in self.publications)

    @property
    def empty(self) -> bool:
        """Whether the record is empty."""
        return not (self.staging or self.publications or self.mount_points)

    def in_boot(self, boot: str) -> "NodeRecord":
        """Return what the record is worth in this boot: mounts do not outlive one, mount points do."""
        if not self.boot or self.boot == boot:
            return msgspec.structs.replace(self, boot=boot)
        targets = dict.fromkeys([*self.mount_points, *(each.target for each in self.publications)])
        return NodeRecord(mount_points=tuple(targets), boot=boot)


class NodeRecords:
    """The records of this node. `folder` None keeps them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        # unbounded: the kernel's own file, one UUID
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()
        self._records: dict[str, NodeRecord] = {}
        self._known: set[str] = set()
        self._pools: set[str] = set()
        self._load()

    def get(self, handle: str) -> NodeRecord:
        """Return the volume's record; an empty one where there is none."""
        return self._records.get(handle, NodeRecord())

    def knows(self, handle: str) -> bool:
        """Whether this driver has, or since its start had, a record of the volume."""
        return handle in self._known

    def knows_pool(self, uuid: str) -> bool:
        """Report whether this node has ever served the pool."""
        return uuid in self._pools

    def keep_pool(self, uuid: str) -> None:
        """Remember that this node served the pool. Blocks; an error is logged."""
        if uuid in self._pools:
            return
        self._pools.add(uuid)
        if self.folder is not None:
            self._try_write(self.folder / POOLS, "".join(f"{each}\n" for each in sorted(self._pools)).encode())

    def keep(self, handle: str, record: NodeRecord) -> None:
        """Use this record from now on; `write` puts it on the disk."""
        self._known.add(handle)
        self._records[handle] = msgspec.structs.replace(record, boot=self._boot)
        if record.empty:
            del self._records[handle]

    def forget(self, handle: str) -> None:
        """Forget the volume's record; `write` removes it from the disk."""
        self._records.pop(handle, None)
        self._known.discard(handle)

    def write(self, handle: str) -> None:
        """Put the record on the disk as it is now. Blocks; an error is logged, for no record is needed."""
        if self.folder is None:
            return
        path, record = self.folder / f"{handle}.json", self.get(handle)
        self._try_write(path, None if record.empty else msgspec.json.encode(record))

    def migrate(self, handle: str, former: NodeRecord, volume_dir: Path) -> None:
        """Use a record that a former version kept in the pool, once: it is written here and removed there. Blocks."""
        if former.empty:
            return
        if not self.knows(handle):
            self.keep(handle, former)
            self.write(handle)
        try:
            (volume_dir / FILE).unlink(missing_ok=True)
        except OSError as error:
            log.warning("node_record.not_removed", volume=handle, error=str(error))

    def _try_write(self, path: Path, content: bytes | None) -> None:
        try:
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(mode=files.PRIVATE, exist_ok=True)
                files.write_atomic(path, content, durable=False)
        except (OSError, HostError) as error:
            log.warning("node_record.not_written", path=str(path), error=str(error))

    def _load(self) -> None:
        try:
            found = sorted(self.folder.glob("*.json")) if self.folder is not None else []
        except OSError as error:
            log.warning("node_records.unreadable", path=str(self.folder), error=str(error))
            return
        with contextlib.suppress(OSError, ValueError, HostError):
            if self.folder is not None:
                known = files.read_small(self.folder / POOLS, most=limits.KNOWN_POOLS_BYTES)
                self._pools.update(known.decode("ascii").split())
        for path in found:
            handle = path.name.removesuffix(".json")
            record = _read(path)
            if parse_handle(handle) is not None and record is not None:
                self.keep(handle, record.in_boot(self._boot))


def read_record(volume_dir: Path) -> NodeRecord:
    """Return what a former version wrote into the pool; an empty record where there is none or it cannot be read."""
    return _read(volume_dir / FILE) or NodeRecord()


def _read(path: Path) -> NodeRecord | None:
    try:
        return msgspec.json.decode(files.read_small(path, most=MAX_BYTES), type=NodeRecord)
    except FileNotFoundError:
        return None
    except (OSError, HostError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        log.warning("node_record.unreadable", path=str(path), error=str(error))
        return None
