"""
Functions that subvolumes of btrfs and their quotas share: identities, and a search in the filesystem's trees.

Source: Linux, include/uapi/linux/btrfs.h and btrfs_tree.h.
"""

import ctypes
import errno
import fcntl
import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SYNC: Final = 0x9408
TREE_SEARCH: Final = 0xD0009411
INO_LOOKUP: Final = 0xD0009412
FS_INFO: Final = 0x8400941F

ROOT_TREE: Final = 1
QUOTA_TREE: Final = 8
ROOT_REF: Final = 156
"""
An item of the root tree for each subvolume in another one: (outer, ROOT_REF, inner). Its content is the inode of the
directory, a sequence, the length of the name, and the name.
"""
QGROUP_RELATION: Final = 246
"""An item of the quota tree for each membership, in both directions."""
TOP_INODE: Final = 256
"""The inode of every subvolume's top directory."""

_KEY: Final = struct.Struct("=7Q4I4Q")
_HEADER: Final = struct.Struct("=3Q2I")
_SEARCH_BYTES: Final = 4096
_MOST: Final = (1 << 64) - 1
_FILE_HANDLE: Final = 0x4D
"""FILEID_BTRFS_WITHOUT_PARENT: inode, subvolume, and a generation of which 0 fits any."""
_libc = ctypes.CDLL(None, use_errno=True)


def uuid_of(descriptor: int) -> uuid.UUID:
    """Return the UUID of the btrfs that an open file is on. Raises OSError on any other filesystem."""
    fields: bytes = fcntl.ioctl(descriptor, FS_INFO, bytes(1024))
    return uuid.UUID(bytes=fields[16:32])


def number_of(descriptor: int) -> int:
    """Return the number of the subvolume that an open file or directory is in."""
    buffer = bytearray(struct.pack("=QQ4080x", 0, TOP_INODE))
    fcntl.ioctl(descriptor, INO_LOOKUP, buffer)
    return int.from_bytes(buffer[:8], "little")


def search(descriptor: int, tree: int, number: int, kind: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield all items of a kind for an object: the offset of the key, and the content.

    Yields nothing where the tree does not exist. Raises OSError.
    """
    lowest = 0
    while True:
        key = _KEY.pack(tree, number, number, lowest, _MOST, 0, _MOST, kind, kind, _SEARCH_BYTES, 0, 0, 0, 0, 0)
        buffer = bytearray(key + bytes(_SEARCH_BYTES - len(key)))
        try:
            fcntl.ioctl(descriptor, TREE_SEARCH, buffer)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        count, position = struct.unpack_from("=I", buffer, 64)[0], len(key)
        if not count:
            return
        for _ in range(count):
            _, _, offset, _, length = _HEADER.unpack_from(buffer, position)
            content = bytes(buffer[position + _HEADER.size : position + _HEADER.size + length])
            position += _HEADER.size + length
            lowest = offset + 1
            yield offset, content
        if lowest > _MOST:
            return


@contextmanager
def opened_inode(anywhere: int, number: int, inode: int) -> Iterator[int]:
    """Open a directory of a subvolume while the block runs, by file handle (open_by_handle_at(2)), not by path."""
    handle = struct.pack("=IiQQI", 20, _FILE_HANDLE, inode, number, 0)
    descriptor = _libc.open_by_handle_at(anywhere, handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if descriptor < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a directory while the block runs."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
