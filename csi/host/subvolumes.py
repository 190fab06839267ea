"""
Btrfs subvolumes with a quota, by ioctl: directories that the kernel holds to their size.

Each subvolume has a quota group of the same number; a limit on it gives EDQUOT to whoever writes past it. The group
outlives its subvolume, so it is destroyed with it. Source: Linux, include/uapi/linux/btrfs.h.
"""

import errno
import fcntl
import os
import stat
import struct
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.errors import HostError

SYNC: Final = 0x9408
SUBVOL_CREATE: Final = 0x5000940E
SNAP_DESTROY: Final = 0x5000940F
INO_LOOKUP: Final = 0xD0009412
FS_INFO: Final = 0x8400941F
QUOTA_CTL: Final = 0xC0109428
QGROUP_CREATE: Final = 0x4010942A
QGROUP_LIMIT: Final = 0x8030942B
ROOT_INODE: Final = 256
"""The inode of every subvolume's top directory."""

_QUOTA_ENABLE: Final = 1
_LIMIT_REFERENCED: Final = 1
_DESTROY_SECONDS: Final = 10.0
_DESTROY_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Quota:
    """What a subvolume occupies and what it may, in bytes; the kernel counts when it commits, every half minute."""

    used: int
    limit: int


def enable_quotas(path: Path) -> bool:
    """Have the filesystem of this directory count; whether it does. False on any filesystem but btrfs, and not root."""
    with _Open(path) as here:
        try:
            fcntl.ioctl(here, QUOTA_CTL, struct.pack("=QQ", _QUOTA_ENABLE, 0))
        except OSError:
            return False
    return True


def create(path: Path, *, limit: int) -> None:
    """Make a subvolume that holds at most so many bytes; one that is there already gets the limit. Raises OSError."""
    with _Open(path.parent) as parent:
        try:
            fcntl.ioctl(parent, SUBVOL_CREATE, _named(path.name))
        except FileExistsError:
            if not is_subvolume(path):
                raise HostError(f"{path} is there and is no subvolume; move it away") from None
    set_limit(path, limit=limit)
    path.chmod(0o700)


def set_limit(path: Path, *, limit: int) -> None:
    """How many bytes it may hold from now on. Raises OSError."""
    with _Open(path) as here:
        # quota group 0 stands for that of the subvolume itself
        fcntl.ioctl(here, QGROUP_LIMIT, struct.pack("=Q5Q", 0, _LIMIT_REFERENCED, limit, 0, 0, 0))


def quota(path: Path) -> Quota:
    """How full it is. Raises OSError where quotas were switched off since."""
    with _Open(path) as here:
        group = Path(f"/sys/fs/btrfs/{_uuid(here)}/qgroups/0_{_number(here)}")
    used, limit = (int((group / name).read_text(encoding="ascii")) for name in ("referenced", "max_referenced"))
    return Quota(used, limit)


def is_subvolume(path: Path) -> bool:
    """Whether the path itself is the top of a subvolume."""
    try:
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_ino == ROOT_INODE and bool(_filesystem(path))
    except OSError:
        return False


def is_subvolume_of(descriptor: int, parent: int) -> bool:
    """Whether an open directory is the top of a subvolume of the filesystem that `parent` is on."""
    try:
        return os.fstat(descriptor).st_ino == ROOT_INODE and _uuid(descriptor) == _uuid(parent)
    except OSError:
        return False


def destroy(name: str, parent: int) -> None:
    """
    Remove a subvolume with all that is in it, nested subvolumes as well, and its quota group.

    `parent` is the open directory that it is in. The kernel empties it in the background; its group can go only then,
    so this waits for some seconds and otherwise leaves an empty group behind, which takes no space. Raises OSError.
    """
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        number = _number(top)
    finally:
        os.close(top)
    try:
        fcntl.ioctl(parent, SNAP_DESTROY, _named(name))
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        _destroy_nested(Path(f"/proc/self/fd/{parent}", name))
        fcntl.ioctl(parent, SNAP_DESTROY, _named(name))
    _destroy_group(number, parent)


def _destroy_nested(top: Path) -> None:
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in list(entries):
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if is_subvolume(Path(entry.path)):
                    with _Open(Path(entry.path).parent) as parent:
                        destroy(entry.name, parent)
                else:
                    pending.append(Path(entry.path))


def _destroy_group(number: int, anywhere: int) -> None:
    deadline = time.monotonic() + _DESTROY_SECONDS
    while True:
        try:
            fcntl.ioctl(anywhere, QGROUP_CREATE, struct.pack("=QQ", 0, number))
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return  # gone with its subvolume, or quotas are off
        else:
            return
        fcntl.ioctl(anywhere, SYNC)  # wakes the cleaner
        time.sleep(_DESTROY_STEP)


def _filesystem(path: Path) -> uuid.UUID:
    with _Open(path) as here:
        return _uuid(here)


def _uuid(descriptor: int) -> uuid.UUID:
    """Of the btrfs that an open file is on. Raises OSError on any other filesystem."""
    fields: bytes = fcntl.ioctl(descriptor, FS_INFO, bytes(1024))
    return uuid.UUID(bytes=fields[16:32])


def _number(descriptor: int) -> int:
    """The subvolume that an open file or directory is in."""
    buffer = bytearray(struct.pack("=QQ4080x", 0, ROOT_INODE))
    fcntl.ioctl(descriptor, INO_LOOKUP, buffer)
    return int.from_bytes(buffer[:8], "little")


def _named(name: str) -> bytearray:
    """Make a struct btrfs_ioctl_vol_args: a bytearray, because fcntl takes only 1024 bytes of any other kind."""
    return bytearray(struct.pack("=q4088s", 0, os.fsencode(name)))


class _Open:
    """A directory, opened as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
