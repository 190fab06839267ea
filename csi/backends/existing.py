"""What lies in a directory or an image that somebody made, looked at before it becomes a volume's bytes."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from csi.backends.loop import SECTOR
from csi.errors import FailedPrecondition, InvalidArgument, NotFound
from csi.host import filesystems, loopdev, mounts, trees
from csi.host.errors import NotBlankError
from csi.units import exact

DIRECTORY, LOOP = "directory", "loop"


@dataclass(frozen=True, slots=True)
class Existing:
    """
    Bytes that can be a volume's: which backend keeps them so, and under what name in the volume's directory.

    `size_bytes` is an image's own; 0 for a directory, which has none. `used_bytes` is what the disk gives for it.
    """

    backend: str
    access_type: str
    stored_as: str
    size_bytes: int
    used_bytes: int
    fs_type: str = ""
    fs_uuid: str = ""


def examine(path: Path, *, raw: bool) -> Existing:
    """
    Look at it, and change nothing. `raw` is for an image that shall be a raw block device.

    Raises NotFound, InvalidArgument for what can be no volume, and FailedPrecondition for what is in use.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise NotFound(f"there is no {path} on this node") from None
    if stat.S_ISDIR(found.st_mode):
        if raw:
            raise InvalidArgument(f"{path} is a directory, and a raw block volume takes an image")
        _require_unmounted(path)
        return Existing(DIRECTORY, "mount", "data", 0, trees.disk_bytes(path))
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArgument(f"{path} is neither a directory nor a file; a link is not followed")
    return _image(path, found, raw=raw)


def _require_unmounted(path: Path) -> None:
    for mount in mounts.table():
        if mount.target.is_relative_to(path.resolve()):
            raise FailedPrecondition(f"something is mounted at {mount.target}; unmount it first")


def _image(path: Path, found: os.stat_result, *, raw: bool) -> Existing:
    if found.st_nlink > 1:
        raise FailedPrecondition(f"{path} has another name, too (a hard link); remove that first")
    if over := loopdev.over(path):
        raise FailedPrecondition(f"{path} is in use by {over[0].path}; unmount and detach that first")
    if found.st_size < SECTOR or found.st_size % SECTOR:
        raise InvalidArgument(f"{path} has {exact(found.st_size)}, and an image has whole sectors of {SECTOR}")
    used = found.st_blocks * 512
    if raw:
        return Existing(LOOP, "block", "image", found.st_size, used)
    try:
        filesystem = filesystems.probe(path)
    except NotBlankError as error:
        raise InvalidArgument(f"{error}; only a raw block volume can have it") from None
    kinds = ", ".join(filesystems.KINDS)
    if filesystem is None:
        raise InvalidArgument(f"{path} has no filesystem on it; make one ({kinds}), or import it as a raw block volume")
    if filesystem.fs_type not in filesystems.KINDS:
        raise InvalidArgument(f"{path} holds {filesystem.fs_type}, and volumes have one of {kinds}")
    return Existing(LOOP, "mount", "image", found.st_size, used, filesystem.fs_type, filesystem.uuid)
