"""
Lock of an image: held by the driver while it works on the image, and by every program that it starts for that.

flock(2) belongs to the open file, which programs inherit. So the lock of a killed driver is released only when the last
of its programs has ended, and the next driver need not assume that they ended with the driver.
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
    """An image and its open file, which has the lock. Functions that change an image take this, not a path."""

    path: Path
    descriptor: int


@contextmanager
def locked(image: Path) -> Iterator[Locked]:
    """
    Lock an image while the block runs.

    Raises ImageLockedError where another process has the lock, UnsafePathError for a link, and OSError where the image
    cannot be opened.
    """
    try:
        descriptor = os.open(image, _HOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafePathError(f"{image} is a link, which is not followed; replace it with the image") from None
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
            f"another process works on {image}, maybe a program of a killed driver; try again when it has "
            f"ended (find it with `fuser -v {image}`)"
        ) from None
