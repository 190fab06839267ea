"""Inspection of an existing directory or image before it is imported as a volume."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from csi.backends.loop import SECTOR
from csi.host import filesystems, loopdev, mounts, trees
from csi.host.errors import HostError, NotBlankError
from csi.units import exact

DIRECTORY, LOOP = "directory", "loop"


class ItemNotFoundError(HostError):
    """There is no such directory or image."""

    is_refusal = True


class UnsuitableItemError(HostError):
    """The item cannot become a volume; the message has the reason."""

    is_refusal = True


class ItemInUseError(HostError):
    """The item is in use, and cannot be moved; the message has what to end first."""

    is_refusal = True


@dataclass(frozen=True, slots=True)
class Existing:
    """
    A directory or image that can be imported.

    `backend`, `access_type` and `enforced` are those of the new volume. `size_bytes` is the image's size, 0 for a
    directory; `used_bytes` are the bytes that it occupies on the disk.
    """

    backend: str
    access_type: str
    enforced: bool
    size_bytes: int
    used_bytes: int
    fs_type: str = ""
    fs_uuid: str = ""


def examine(path: Path, *, raw: bool) -> Existing:
    """
    Inspect a directory or image without changing it. `raw` imports an image as a raw block volume.

    Raises ItemNotFoundError, UnsuitableItemError, and ItemInUseError for one that cannot be moved now.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise ItemNotFoundError(f"{path} does not exist on this node") from None
    if stat.S_ISDIR(found.st_mode):
        if raw:
            raise UnsuitableItemError(f"{path} is a directory; a raw block volume needs an image")
        _require_unmounted(path)
        return Existing(DIRECTORY, "mount", False, 0, trees.disk_bytes(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnsuitableItemError(f"{path} is neither a directory nor a file; links are not followed")
    return _image(path, found, raw=raw)


def _require_unmounted(path: Path) -> None:
    for mount in mounts.table():
        if mount.target.is_relative_to(path.resolve()):
            raise ItemInUseError(f"a filesystem is mounted at {mount.target}; unmount it first")


def _image(path: Path, found: os.stat_result, *, raw: bool) -> Existing:
    if found.st_nlink > 1:
        raise ItemInUseError(f"{path} has another name (a hard link); remove the other one first")
    if over := loopdev.over(path):
        raise ItemInUseError(f"{path} is in use by {over[0].path}; unmount and detach that device first")
    if found.st_size < SECTOR or found.st_size % SECTOR:
        raise UnsuitableItemError(
            f"{path} has {exact(found.st_size)}; an image has to be whole sectors of {SECTOR} bytes"
        )
    used = found.st_blocks * 512
    if raw:
        return Existing(LOOP, "block", True, found.st_size, used)
    try:
        filesystem = filesystems.probe(path)
    except NotBlankError as error:
        raise UnsuitableItemError(f"{error}; it can be imported only as a raw block volume") from None
    kinds = ", ".join(filesystems.KINDS)
    if filesystem is None:
        raise UnsuitableItemError(f"{path} has no filesystem; create one ({kinds}), or import it as a raw block volume")
    if filesystem.fs_type not in filesystems.KINDS:
        raise UnsuitableItemError(f"{path} has the filesystem {filesystem.fs_type}; volumes can have {kinds}")
    return Existing(LOOP, "mount", True, found.st_size, used, filesystem.fs_type, filesystem.uuid)
