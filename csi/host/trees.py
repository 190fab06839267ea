"""
Walks over directory trees that a tenant wrote: by descriptor, in bounded memory, without crossing a mount.

Rules of every walk: no path is built, so its length does not matter; memory and descriptors have limits that no tree
exceeds; unreadable entries are skipped. No content of a tree ends a walk with an error.
Source of openat2 and its flags: Linux, include/uapi/linux/openat2.h.
"""

import ctypes
import errno
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from csi import limits

MOST_OPEN: Final = limits.OPEN_DIRECTORIES
"""The number of levels, from the top, that one walk keeps open; below them one directory is open at a time."""

MOST_NAMES: Final = limits.WALK_NAMES
"""Number of names and levels that one walk stores below its open directories; directories beyond it are skipped."""

CHECK_EVERY: Final = 1000
"""Number of entries between two checks whether the walk has to stop."""

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags to open directories with: links are refused, and the call does not block."""

_OPENAT2: Final = 437
_NO_XDEV: Final = 1
_NO_SYMLINKS: Final = 4
_libc = ctypes.CDLL(None, use_errno=True)


class WalkStoppedError(Exception):
    """The caller stopped the walk."""


class Found(NamedTuple):
    """
    One file or directory. `directory` is an open descriptor, valid until the walk goes on.

    `name` is the file in that directory; "" is the directory itself, which comes before its contents.
    """

    directory: int
    name: str
    status: os.stat_result


def walk(top: int) -> Iterator[Found]:
    """
    Yield the open directory `top` and everything below it on the same mount. Links are yielded and not followed.

    The caller closes `top`, after the walk. A directory that is moved meanwhile may be skipped in part.
    """
    opened = [_Open(os.dup(top))]
    try:
        yield opened[0].itself
        while opened:
            current = opened[-1]
            entry = current.next()
            if entry is None:
                opened.pop().close()
            elif not _is_directory(entry):
                yield from _file(current.itself, entry)
            elif (deeper := enter(current.itself.directory, entry.name)) is None:
                continue
            elif len(opened) < MOST_OPEN:
                opened.append(_Open(deeper))
                yield opened[-1].itself
            else:
                yield from _deep(deeper)
    finally:
        for each in opened:
            each.close()


def _deep(current: int) -> Iterator[Found]:
    """Yield a directory and everything below it with one descriptor at a time; closes the given descriptor."""
    levels: list[tuple[tuple[int, int], list[str]]] = []
    count = 0
    try:
        while True:
            names = yield from _level(current, MOST_NAMES - count)
            levels.append((_identity(current), names))
            count += len(names) + 1
            deeper = None
            while deeper is None:
                while not levels[-1][1]:
                    levels.pop()
                    count -= 1
                    above = enter(current, "..") if levels else None
                    if above is None:
                        return
                    os.close(current)
                    current = above
                    if _identity(current) != levels[-1][0]:
                        return  # moved while it was walked
                count -= 1
                deeper = enter(current, levels[-1][1].pop()) if count < MOST_NAMES else None
            os.close(current)
            current = deeper
    finally:
        os.close(current)


def _level(current: int, most: int) -> Generator[Found, None, list[str]]:
    """Yield a directory and its files; return the names of at most `most` directories in it."""
    opened = _Open(os.dup(current))
    names: list[str] = []
    try:
        yield Found(current, "", opened.itself.status)
        while (entry := opened.next()) is not None:
            if not _is_directory(entry):
                yield from _file(Found(current, "", opened.itself.status), entry)
            elif len(names) < most:
                names.append(entry.name)
    finally:
        opened.close()
    return names


class _Open:
    """An open directory that is read during the walk, so that its entries need no memory; it owns the descriptor."""

    def __init__(self, directory: int) -> None:
        self.itself = Found(directory, "", os.fstat(directory))
        self._entries: os._ScandirIterator[str] | None = None  # the only name of this type

    def next(self) -> "os.DirEntry[str] | None":
        """Return the next entry; None at the end, and where the directory cannot be read."""
        try:
            if self._entries is None:
                self._entries = os.scandir(self.itself.directory)
            return next(self._entries, None)
        except OSError:
            return None

    def close(self) -> None:
        """Close both descriptors."""
        if self._entries is not None:
            self._entries.close()
        os.close(self.itself.directory)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _file(directory: Found, entry: "os.DirEntry[str]") -> Iterator[Found]:
    """Yield a file, unless it cannot be read or another file is mounted on it."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return
    if status.st_dev == directory.status.st_dev:
        yield Found(directory.directory, entry.name, status)


def enter(directory: int, name: str) -> int | None:
    """Open a directory in an open one; None where it cannot be opened, is a link, or is a mount point."""
    how = struct.pack("=QQQ", DIRECTORY, 0, _NO_XDEV | _NO_SYMLINKS)
    descriptor: int = _libc.syscall(_OPENAT2, directory, os.fsencode(name), how, len(how))
    if descriptor >= 0:
        return descriptor
    if ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
        return None
    return _enter_by_device(directory, name)  # Linux before 5.6, or a seccomp filter without the call


def _enter_by_device(directory: int, name: str) -> int | None:
    try:
        descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    except OSError:
        return None
    if os.fstat(descriptor).st_dev == os.fstat(directory).st_dev:
        return descriptor
    os.close(descriptor)
    return None


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino


def disk_bytes(path: Path, *, stop: Callable[[], bool] = lambda: False) -> int:
    """
    Return the bytes that a file or a whole tree occupies on the disk; 0 where it cannot be read.

    Holes do not count. An inode with several names counts once: each name counts for a fraction of it, so that the sum
    is right also when the names are in several trees. Skipped entries are not counted: the result is never too large
    for a tree that does not change. Raises WalkStoppedError when `stop` returns True.
    """
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return status.st_blocks * 512 // max(1, status.st_nlink)
        top = os.open(path, DIRECTORY)
    except OSError:
        return 0
    by_names: Counter[int] = Counter()
    try:
        for number, found in enumerate(walk(top)):
            by_names[1 if not found.name else max(1, found.status.st_nlink)] += found.status.st_blocks
            if number % CHECK_EVERY == 0 and stop():
                raise WalkStoppedError
    except OSError:
        pass  # the disk failed during the walk: the entries read so far count
    finally:
        os.close(top)
    return sum(blocks * 512 // names for names, blocks in by_names.items())
