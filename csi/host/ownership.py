"""Giving a whole tree to a group, as a pod with an fsGroup expects its volume."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SHARED: Final = 0o2070


def give_to_group(top: Path, group: int) -> None:
    """
    Let the group read and write everything below `top`, and own what is made there later.

    Where the top is that way already nothing is looked at, so that a second start of a pod costs nothing: it is changed
    last. No link is followed, in any part of a path, and no other filesystem entered. Raises OSError.
    """
    found = top.stat()
    if found.st_gid == group and found.st_mode & _SHARED == _SHARED:
        return
    opened: list[tuple[int, Iterator[str]]] = []
    try:
        opened.append(_listed(os.open(top, _DIRECTORY)))
        while opened:
            here, names = opened[-1]
            name = next(names, None)
            if name is None:
                _share(here, group)
                os.close(opened.pop()[0])
            elif (deeper := _step(here, name, group, device=found.st_dev)) is not None:
                opened.append(_listed(deeper))
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)


def _listed(directory: int) -> tuple[int, Iterator[str]]:
    return directory, iter(os.listdir(directory))


def _step(directory: int, name: str, group: int, *, device: int) -> int | None:
    """Share one entry; a directory is opened and returned instead, to be shared after what is in it."""
    try:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None  # it went while we looked
    try:
        found = os.fstat(descriptor)
        if stat.S_ISLNK(found.st_mode) or found.st_dev != device:
            return None
        if stat.S_ISDIR(found.st_mode):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _share(descriptor, group)
        return None
    finally:
        os.close(descriptor)


def _share(descriptor: int, group: int) -> None:
    """Through /proc, because a descriptor that only names a file cannot be changed itself."""
    path, mode = f"/proc/self/fd/{descriptor}", os.fstat(descriptor).st_mode
    os.chown(path, -1, group)
    os.chmod(path, stat.S_IMODE(mode) | (_SHARED if stat.S_ISDIR(mode) else 0o060))  # noqa: PTH101
