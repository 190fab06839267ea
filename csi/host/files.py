"""Files and directories of a pool: durable writes, and removal that never leaves the pool."""

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from csi import limits
from csi.host import subvolumes
from csi.host.errors import NoSpaceError, NotReservableError, UnsafePathError
from csi.units import readable

PRIVATE: Final = 0o700
"""Mode of the driver's directories: only pods that mount a volume read its data, not users who are logged in."""

BATCH: Final = limits.REMOVAL_BATCH
"""Number of names that a removal reads at a time."""

_libc = ctypes.CDLL(None, use_errno=True)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Space:
    """Space of a filesystem, in bytes and inodes; `available` are the bytes that an ordinary user can still write."""

    total: int
    free: int
    available: int
    inodes: int
    free_inodes: int


def filesystem_space(path: Path) -> Space:
    """Return the space of the filesystem that `path` is on."""
    found = os.statvfs(path)
    size = found.f_frsize
    return Space(found.f_blocks * size, found.f_bfree * size, found.f_bavail * size, found.f_files, found.f_ffree)


def read_small(path: Path, *, most: int) -> bytes:
    """
    Read a whole file of the driver. Raises OSError where it cannot be read.

    Raises UnsafePathError for anything but a regular file, and for one larger than `most` bytes: reading it could block
    or never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafePathError(f"{path} is not a regular file; move it away and restore it from a backup")
        if found.st_size > most:
            raise UnsafePathError(
                f"{path} has {readable(found.st_size, up=True)}, more than {readable(most)}; restore it from a backup"
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def reserve(path: Path, *, size: int) -> None:
    """
    Reserve blocks for the first `size` bytes of a file, and set its length; existing blocks are not changed.

    This is fallocate(2) itself. The posix_fallocate of C libraries, and of Python, writes into the file where the
    filesystem cannot reserve blocks: a race with any user of the file, in time proportional to its size. Raises
    NoSpaceError, NotReservableError where the filesystem cannot reserve, and OSError.
    """
    with reporting_no_space(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while _libc.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
                number = ctypes.get_errno()
                if number == errno.EOPNOTSUPP:
                    raise NotReservableError(
                        f"the filesystem of {path} cannot reserve blocks, so a volume there cannot be thick; "
                        f"use provisioning: thin"
                    )
                if number != errno.EINTR:
                    raise OSError(number, os.strerror(number), str(path))
        finally:
            os.close(descriptor)


def read_through_links(path: Path, *, most: int) -> bytes:
    """Read a file, following links. Raises OSError, and ValueError where it is larger than `most` bytes."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} has more than {readable(most)}")
    return content


def write_atomic(path: Path, content: bytes, *, durable: bool = True, entry: bool = True) -> None:
    """
    Replace a file atomically: after a crash it has the old content or the new one. Raises NoSpaceError.

    `durable` false is for content that a power failure makes invalid anyway; the file survives the end of the process,
    not of the machine. `entry` false leaves the sync of the directory to a later step: until then a power failure may
    lose the whole file, and never a part of it.
    """
    temporary = path.with_name(f".{path.name}.new")
    with reporting_no_space(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        if durable and entry:
            sync_directory(path.parent)


def create_directory(path: Path, *, durable: bool = True) -> None:
    """Create one private directory; an existing one is no error."""
    with reporting_no_space(path):
        try:
            path.mkdir(mode=PRIVATE)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise UnsafePathError(f"{path} exists and is not a directory; move it away") from None
            return
        if durable:
            sync_directory(path.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Rename within one filesystem, and sync both parent directories to the disk."""
    source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def sync_directory(path: Path) -> None:
    """Sync the entries of a directory to the disk."""
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reporting_no_space(path: Path) -> Iterator[None]:
    """Convert "no space left" and "quota exceeded" to NoSpaceError with a message that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpaceError(f"the disk below {path} is full; free some space on it") from None
        raise


def remove_tree(root: Path, path: Path) -> None:
    """
    Remove `path`, which is strictly below `root`, and everything below it. A missing path is no error.

    Follows no link, enters no other filesystem, and changes no parent: raises UnsafePathError instead. A subvolume of
    the same btrfs is removed with its quota group. Memory and open files do not grow with the depth: nested directories
    are moved up and emptied there.
    """
    relative = path.relative_to(root)  # the driver built both from checked names
    if not relative.parts or ".." in relative.parts:
        raise UnsafePathError(f"{path} is not below {root}; nothing is removed")
    try:
        parent = _open_below(root, relative.parts[:-1])
    except FileNotFoundError:
        return
    try:
        _remove_entry(parent, relative.parts[-1], device=os.fstat(parent).st_dev)
        os.fsync(parent)
    finally:
        os.close(parent)


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    """Open a directory below root; refuse links in its path."""
    current = os.open(root, _DIRECTORY)
    for part in parts:
        try:
            deeper = _open_directory(part, current)
        finally:
            os.close(current)
        current = deeper
    return current


def _open_directory(name: str, parent: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise UnsafePathError(f"{name} is a link or not a directory; it is not removed") from None
        raise


def _remove_entry(parent: int, name: str, *, device: int) -> None:
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    top = _open_directory(name, parent)
    try:
        while batch := _batch(top):
            for entry in batch:
                _flatten(top, entry, device=device)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _batch(directory: int) -> list[str]:
    """Return the names of some entries, so that memory does not grow with their number."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in islice(entries, BATCH)]


def _flatten(top: int, name: str, *, device: int) -> None:
    """Remove one entry; the directories in it are moved up to `top` and removed from there."""
    found = os.stat(name, dir_fd=top, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=top)
        return
    directory = _open_directory(name, top)
    try:
        elsewhere = os.fstat(directory).st_dev != device
        subvolume = elsewhere and subvolumes.is_subvolume_of(directory, top)
        if elsewhere and not subvolume:
            raise UnsafePathError(f"{name} is on another filesystem, mounted there; nothing in it is removed")
        if not subvolume:
            _empty(directory, top)
    finally:
        os.close(directory)
    if subvolume:  # after it is closed, since the kernel never removes an open one
        subvolumes.destroy(name, top)
    else:
        os.rmdir(name, dir_fd=top)


def _empty(directory: int, top: int) -> None:
    while batch := _batch(directory):
        for name in batch:
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                # a random name: numbered ones could collide with those of an interrupted removal, or of a tenant
                _move_up(name, directory, f".removed-{secrets.token_hex(16)}", top)
            else:
                os.unlink(name, dir_fd=directory)


def _move_up(name: str, directory: int, new: str, top: int) -> None:
    try:
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=top)
    except OSError as error:
        if error.errno in {errno.EBUSY, errno.EXDEV}:
            raise UnsafePathError(f"{name} has another filesystem mounted on it; nothing in it is removed") from None
        raise
