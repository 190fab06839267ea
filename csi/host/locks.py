"""
The lock of an image: whoever works on an image holds it, and so does every program that works for them.

flock(2) belongs to the open file, and programs inherit that. So the lock of a driver that was killed is released only
when the last of its programs has ended, and the next driver need not trust that they ended with it.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.errors import ImageLockedError, UnsafePathError

_HOW: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Locked:
    """An image and the open file whose lock is held. Functions that change an image take this, not a path."""

    path: Path
    descriptor: int


@contextmanager
def locked(image: Path) -> Iterator[Locked]:
    """
    Hold the lock of an image as long as the block runs.

    Raises ImageLocked where another process holds it, UnsafePath for a link, and OSError where it cannot be opened.
    """
    try:
        descriptor = os.open(image, _HOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafePathError(f"{image} is a link, which is not followed; move the image there") from None
        raise
    try:
        _lock(image, descriptor)
        yield Locked(image, descriptor)
    finally:
        os.close(descriptor)


def _lock(image: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ImageLockedError(
            f"another process works on {image}, maybe a program of a driver that was killed; try again when it has "
            f"ended (`fuser -v {image}` names it)"
        ) from None
