"""
Loop devices, by ioctl: a file as a block device.

A device is ours only when its tag, the file's filesystem and the file's inode are ours; never because of how its path
looks. A filesystem's device clears itself when it is unmounted, so neither a crash nor a lazy unmount leaks one.
Source: Linux, include/uapi/linux/loop.h.
"""

import errno
import fcntl
import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.errors import NoLoopDevice

CLR_FD: Final = 0x4C01
GET_STATUS64: Final = 0x4C05
CONFIGURE: Final = 0x4C0A
CTL_GET_FREE: Final = 0x4C82
READ_ONLY: Final = 1
AUTOCLEAR: Final = 4
DIRECT_IO: Final = 16
MAJOR: Final = 7
ATTEMPTS: Final = 32

_INFO: Final = struct.Struct("=5Q4I64s64s32s2Q")
"""struct loop_info64"""
_CONFIG: Final = struct.Struct(f"=2I{_INFO.size}s64x")
"""struct loop_config"""


@dataclass(frozen=True, slots=True)
class Loop:
    """An attached device: its path, and how it works."""

    path: Path
    number: int
    direct_io: bool
    read_only: bool


def tag_of(volume_id: str) -> str:
    """What our devices carry where others carry a file name; at most 63 bytes."""
    return f"mooring:{hashlib.sha256(volume_id.encode()).hexdigest()[:40]}"


@contextmanager
def attached(image: Path, *, tag: str, read_only: bool = False) -> Iterator[Loop]:
    """
    A device over the image, there as long as the block runs; a mount made meanwhile keeps it.

    Uses direct I/O where the filesystem below allows it, so that data is not cached twice. Raises NoLoopDevice.
    """
    mode = os.O_RDONLY if read_only else os.O_RDWR
    backing = os.open(image, mode | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        device, loop = _attach(backing, tag=tag, mode=mode)
    finally:
        os.close(backing)
    try:
        yield loop
    finally:
        os.close(device)


def _attach(backing: int, *, tag: str, mode: int) -> tuple[int, Loop]:
    flags = AUTOCLEAR | DIRECT_IO | (READ_ONLY if mode == os.O_RDONLY else 0)
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, tag.encode(), b"", b"", 0, 0)
    for _ in range(ATTEMPTS):
        number = _free_number()
        path = _node(number)
        device = os.open(path, mode | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, CONFIGURE, _CONFIG.pack(backing, 0, info))
            return device, _loop(device, path)
        except OSError as error:
            os.close(device)
            if error.errno == errno.EBUSY:
                continue  # somebody was faster; ask for another one
            raise NoLoopDevice(f"{path} cannot take the image: {error.strerror}") from None
    raise NoLoopDevice("every free loop device was taken by somebody else; try again")


def _free_number() -> int:
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NoLoopDevice(f"/dev/loop-control cannot be opened: {error.strerror}; loop volumes need it") from None
    try:
        return fcntl.ioctl(control, CTL_GET_FREE)
    except OSError as error:
        raise NoLoopDevice(f"the kernel has no free loop device: {error.strerror}; detach unused ones") from None
    finally:
        os.close(control)


def _node(number: int) -> Path:
    """The device's node; in a container it may have to be made."""
    path = Path(f"/dev/loop{number}")
    if not path.exists():
        try:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(MAJOR, number))
        except FileExistsError:
            pass
        except OSError as error:
            raise NoLoopDevice(f"{path} is not there and cannot be made: {error.strerror}") from None
    return path


def find(image: Path, *, tag: str) -> list[Loop]:
    """Our devices over this very image, whoever attached them before."""
    try:
        wanted = image.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        path = Path("/dev", entry.parent.parent.name)
        try:
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it was detached while we looked
        try:
            fields = _INFO.unpack(fcntl.ioctl(device, GET_STATUS64, bytes(_INFO.size)))
            ours = fields[9].rstrip(b"\0") == tag.encode()
            if ours and (fields[0], fields[1]) == (wanted.st_dev, wanted.st_ino):
                found.append(_loop(device, path))
        except OSError:
            continue  # as above
        finally:
            os.close(device)
    return found


def detach(loop: Loop) -> None:
    """Let go of the image; a device still in use goes when its last user does."""
    try:
        device = os.open(loop.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.ioctl(device, CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise NoLoopDevice(f"{loop.path} cannot be detached: {error.strerror}") from None
    finally:
        os.close(device)


def _loop(device: int, path: Path) -> Loop:
    fields = _INFO.unpack(fcntl.ioctl(device, GET_STATUS64, bytes(_INFO.size)))
    flags = fields[8]
    return Loop(path, int(path.name.removeprefix("loop")), bool(flags & DIRECT_IO), bool(flags & READ_ONLY))
