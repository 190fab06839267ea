"""Superblocks of filesystems, read from the image while it is not mounted."""

import struct
import uuid as uuids
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_EXT4: Final = 1024
_EXT4_STATE: Final = 0x3A
_EXT4_ERRORS: Final = 2
_EXT4_64BIT: Final = 0x80
_BTRFS: Final = 64 << 10
_BTRFS_LOG_ROOT: Final = 0x60
_UUID_AT: Final = {"ext4": _EXT4 + 0x68, "xfs": 32, "btrfs": _BTRFS + 0x20}
_SMALLEST_XFS_GROUP: Final = 64
"""Blocks; xfs_growfs leaves a smaller remainder unused."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of its device that a filesystem uses, and bytes that it may leave unused because of its geometry."""

    used: int
    slack: int

    def fills(self, device_bytes: int) -> bool:
        """Report whether an expansion on a device of this size would change nothing."""
        return device_bytes - self.used < self.slack


def extent(image: Path, *, fs_type: str) -> Extent:
    """
    Read the extent of the filesystem. Raises OSError, and struct.error for an image too short for a superblock.

    Sources: Linux, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h.
    """
    with image.open("rb") as file:
        if fs_type == "xfs":
            block, blocks = struct.unpack(">IQ", file.read(16)[4:])
            return Extent(block * blocks, block * _SMALLEST_XFS_GROUP)
        if fs_type == "btrfs":
            file.seek(_BTRFS + 0x70)
            (total,) = struct.unpack("<Q", file.read(8))
            return Extent(total, 4096)
        file.seek(_EXT4)
        block = file.read(1024)
        (low,) = struct.unpack_from("<I", block, 0x4)
        (high,) = struct.unpack_from("<I", block, 0x150)
        (features,) = struct.unpack_from("<I", block, 0x60)
        size = 1024 << struct.unpack_from("<I", block, 0x18)[0]
        return Extent((low | (high << 32 if features & _EXT4_64BIT else 0)) * size, size)


def has_errors(image: Path, *, fs_type: str) -> bool:
    """
    Report whether the filesystem has recorded errors that only a check clears.

    Only ext4 has such a mark. The kernel replays an interrupted journal of every type when it mounts it.
    """
    if fs_type != "ext4":
        return False
    with image.open("rb") as file:
        file.seek(_EXT4 + _EXT4_STATE)
        (state,) = struct.unpack("<H", file.read(2))
    return bool(state & _EXT4_ERRORS)


def uuid(image: Path, *, fs_type: str) -> str:
    """Return the UUID by which the kernel identifies the filesystem. Raises OSError, struct.error as `extent` does."""
    with image.open("rb") as file:
        file.seek(_UUID_AT[fs_type])
        return str(uuids.UUID(bytes=struct.unpack("16s", file.read(16))[0]))


def has_pending_log(image: Path, *, fs_type: str) -> bool:
    """
    Report whether a btrfs has a log that the next mount has to replay. Raises as `extent` does.

    False for other types: their programs handle the log themselves, while those of btrfs change the filesystem so that
    its log cannot be replayed any more, and the filesystem not be mounted.
    """
    if fs_type != "btrfs":
        return False
    with image.open("rb") as file:
        file.seek(_BTRFS + _BTRFS_LOG_ROOT)
        return bool(struct.unpack("<Q", file.read(8))[0])
