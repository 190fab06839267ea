"""
Btrfs subvolumes with a quota, by ioctl: directories whose size the kernel enforces.

Each has a quota group (see `quotas`), which the kernel does not remove with it, so the driver does. Nested subvolumes
are found in the filesystem's trees and opened by inode: no path is built, at any depth.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from csi.host import btrfs, quotas
from csi.host.errors import HostError
from csi.host.quotas import Quota

SUBVOL_CREATE: Final = 0x5000940E
SNAP_DESTROY: Final = 0x5000940F
SUBVOL_SETFLAGS: Final = 0x4008941A

_ROOT_REF: Final = struct.Struct("<QQH")


class _Nested(NamedTuple):
    """A nested subvolume: both numbers, the inode of its directory in the outer one, and its name there."""

    number: int
    outer: int
    directory: int
    name: bytes


def create(path: Path, *, limit: int) -> None:
    """Create a subvolume with a limit in bytes; an existing one gets the limit. Raises OSError, HostError."""
    with btrfs.opened(path.parent) as parent:
        try:
            fcntl.ioctl(parent, SUBVOL_CREATE, _named(path.name))
        except FileExistsError:
            if not is_subvolume(path):
                raise HostError(f"{path} exists and is not a subvolume; move it away") from None
        quotas.create_group(_number(path), parent, limit=limit)
    path.chmod(0o700)


def set_limit(path: Path, *, limit: int) -> None:
    """Set the limit of a subvolume in bytes. Raises OSError."""
    with btrfs.opened(path.parent) as parent:
        quotas.set_limit(_number(path), parent, limit=limit)


def quota(path: Path) -> Quota:
    """Return used bytes, with nested subvolumes, and limit. Raises OSError, and HostError where quotas are disabled."""
    number = _number(path)
    with btrfs.opened(path.parent) as parent:
        quotas.assign_nested(number, (each.number for each in _nested(number, parent)), parent)
        return quotas.quota(number, parent)


def is_subvolume(path: Path) -> bool:
    """Report whether the path itself is the top directory of a subvolume."""
    try:
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_ino == btrfs.TOP_INODE and _number(path) > 0
    except OSError:
        return False


def is_subvolume_of(descriptor: int, parent: int) -> bool:
    """Report whether an open directory is the top of a subvolume of the filesystem that `parent` is on."""
    try:
        return os.fstat(descriptor).st_ino == btrfs.TOP_INODE and btrfs.uuid_of(descriptor) == btrfs.uuid_of(parent)
    except OSError:
        return False


def destroy(name: str, parent: int) -> None:
    """
    Remove a subvolume with all its contents, nested subvolumes, and their quota groups. Raises OSError.

    `parent` is the open directory that it is in.
    """
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        number = btrfs.number_of(top)
    finally:
        os.close(top)
    nested: list[_Nested] = []
    try:
        fcntl.ioctl(parent, SNAP_DESTROY, _named(name))
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        nested = list(_nested(number, parent))
        for each in reversed(nested):  # the deepest ones first
            _destroy_nested(each, parent)
        fcntl.ioctl(parent, SNAP_DESTROY, _named(name))
    quotas.remove_groups([*(each.number for each in nested), number], parent)


def _nested(number: int, anywhere: int) -> Iterator[_Nested]:
    """Yield every nested subvolume, each after its parent. Raises OSError."""
    pending = [number]
    while pending:
        outer = pending.pop()
        for inner, content in btrfs.search(anywhere, btrfs.ROOT_TREE, outer, btrfs.ROOT_REF):
            directory, _, length = _ROOT_REF.unpack_from(content)
            yield _Nested(inner, outer, directory, content[_ROOT_REF.size : _ROOT_REF.size + length])
            pending.append(inner)


def _destroy_nested(nested: _Nested, anywhere: int) -> None:
    """Destroy a nested subvolume, by inode; make its parent writable where the owner made that read-only."""
    with btrfs.opened_inode(anywhere, nested.outer, nested.directory) as directory:
        try:
            fcntl.ioctl(directory, SNAP_DESTROY, _named(nested.name))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            with btrfs.opened_inode(anywhere, nested.outer, btrfs.TOP_INODE) as outer:
                fcntl.ioctl(outer, SUBVOL_SETFLAGS, struct.pack("=Q", 0))
            fcntl.ioctl(directory, SNAP_DESTROY, _named(nested.name))


def _number(path: Path) -> int:
    with btrfs.opened(path) as descriptor:
        btrfs.uuid_of(descriptor)
        return btrfs.number_of(descriptor)


def _named(name: str | bytes) -> bytearray:
    """Return a struct btrfs_ioctl_vol_args: a bytearray, because fcntl accepts only 1024 bytes of any other type."""
    return bytearray(struct.pack("=q4088s", 0, os.fsencode(name)))
