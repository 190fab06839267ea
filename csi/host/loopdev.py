"""
Loop devices, by ioctl: a file as a block device.

A device is the driver's only if its tag, and the filesystem and inode of its file, are the expected ones; its path does
not count. The device of a filesystem is detached with the unmount, so neither a crash nor a lazy unmount leaks one.
Source: Linux, include/uapi/linux/loop.h.
"""

import errno
import fcntl
import hashlib
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import structlog

from csi.host import block_queue
from csi.host.errors import LoopDeviceError

log = structlog.get_logger()

CLR_FD: Final = 0x4C01
GET_STATUS64: Final = 0x4C05
SET_CAPACITY: Final = 0x4C07
CONFIGURE: Final = 0x4C0A
BLKROSET: Final = 0x125D
CTL_ADD: Final = 0x4C80
CTL_REMOVE: Final = 0x4C81
CTL_GET_FREE: Final = 0x4C82
READ_ONLY: Final = 1
AUTOCLEAR: Final = 4
DIRECT_IO: Final = 16
MAJOR: Final = 7
ATTEMPTS: Final = 32
RENEWALS: Final = 20
RENEWAL_STEP: Final = 0.005
"""Seconds between two attempts to renew a device."""

_PARENTS: Final = frozenset({"volumes", "trash"})
"""Directories of a pool; an image is ``<parent>/<directory named after the volume>/image``."""
_DEPTH: Final = 3

_INFO: Final = struct.Struct("=5Q4I64s64s32s2Q")
"""struct loop_info64"""
_CONFIG: Final = struct.Struct(f"=2I{_INFO.size}s64x")
"""struct loop_config"""


@dataclass(frozen=True, slots=True)
class Loop:
    """
    An attached device: its path, its modes, its owner's tag, and the device and inode of the file below it.

    The kernel accesses that file before it reports any of this, and so fails on a failing disk. Then the tag is "", and
    `backing` is the path of the file as stored in the kernel; else `backing` is "".
    """

    path: Path
    direct_io: bool
    read_only: bool
    tag: str
    file: tuple[int, int]
    backing: str = ""

    def may_be_over(self, volume_id: str, image: Path | None) -> bool:
        """
        Report whether the device, of which only the path is known, may be over the image of a volume with this id.

        `image` is the path of the volume's image in the pool, if it is known. Where that can be read, the device, whose
        file cannot, is over an image of another pool.
        """
        return self.backing.endswith(f"/volumes/{volume_id}/image") and not (image is not None and _can_be_read(image))


def _can_be_read(image: Path) -> bool:
    """Report whether stat of the file succeeds, as it must before the kernel reports the device over it."""
    try:
        image.lstat()
    except OSError:
        return False
    return True


def tag_of(volume_id: str) -> str:
    """Return the tag of the driver's devices for a volume, at most 63 bytes; other devices have a file name there."""
    return f"mooring:{hashlib.sha256(volume_id.encode()).hexdigest()[:40]}"


@contextmanager
def attached(image: Path, *, tag: str, read_only: bool = False, discards: bool = True) -> Iterator[Loop]:
    """
    Attach a device to the image while the block runs; a mount that is created meanwhile keeps it attached.

    Uses direct I/O where the filesystem below allows it, so that data is not cached twice. `discards` false: blocks
    that are freed on the device stay allocated in the image, where that can be set. Raises LoopDeviceError.
    """
    device, loop = _attach(image, tag=tag, flags=AUTOCLEAR | (READ_ONLY if read_only else 0), discards=discards)
    try:
        yield loop
    except BaseException:
        os.close(device)
        if not discards:
            renew(loop)
        raise
    os.close(device)


def attach(image: Path, *, tag: str, read_only: bool, discards: bool = True) -> Loop:
    """
    Attach a device to the image until it is detached; return the existing one if there is one.

    `discards` is as for `attached`. Raises LoopDeviceError.
    """
    for loop in find(image, tag=tag):
        if loop.read_only == read_only:
            if not discards:
                _stop_discards(loop)
            return loop
    device, loop = _attach(image, tag=tag, flags=READ_ONLY if read_only else 0, discards=discards)
    os.close(device)
    return loop


def _attach(image: Path, *, tag: str, flags: int, discards: bool) -> tuple[int, Loop]:
    mode = os.O_RDONLY if flags & READ_ONLY else os.O_RDWR
    backing = os.open(image, mode | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        device, loop = _configure(backing, tag=tag, mode=mode, flags=flags | DIRECT_IO)
        if discards and block_queue.is_limited(loop.path.name):  # by an earlier user of this number
            _clear(device)
            os.close(device)
            renew(loop)
            device, loop = _configure(backing, tag=tag, mode=mode, flags=flags | DIRECT_IO)
    finally:
        os.close(backing)
    if not discards:
        _stop_discards(loop)
    return device, loop


def stop_discards(image: Path, *, tag: str) -> None:
    """Disable discards on the driver's devices over the image, also those that an earlier driver attached."""
    for loop in find(image, tag=tag):
        if passes_discards(loop):
            _stop_discards(loop)


def _stop_discards(loop: Loop) -> None:
    """Disable discards; a failure is logged, and the device stays usable."""
    try:
        block_queue.stop_discards(loop.path.name)
    except OSError as error:
        log.warning("loop.discards_not_stopped", device=str(loop.path), error=str(error))


def renew(loop: Loop) -> None:
    """
    Remove a detached device and add a new one with its number, which has no limits.

    One that is in use is not changed.
    """
    number = int(loop.path.name.removeprefix("loop"))
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for attempts_left in reversed(range(RENEWALS)):
            try:
                fcntl.ioctl(control, CTL_REMOVE, number)
                fcntl.ioctl(control, CTL_ADD, number)
            except OSError as error:
                if error.errno == errno.EBUSY and attempts_left:  # its last user may close it soon
                    time.sleep(RENEWAL_STEP)
                    continue
                if error.errno not in {errno.ENODEV, errno.EEXIST}:  # another process did it first
                    log.warning("loop.not_renewed", device=str(loop.path), error=str(error))
            return
    finally:
        os.close(control)


def passes_discards(loop: Loop) -> bool:
    """Report whether blocks that are freed on the device are freed in its image, too."""
    return block_queue.passes_discards(loop.path.name)


@contextmanager
def releasing(loops: Sequence[Loop]) -> Iterator[None]:
    """Renew devices that are detached while the block runs and had discards disabled: their numbers keep that limit."""
    limited = [loop for loop in loops if block_queue.is_limited(loop.path.name)]
    yield
    for loop in limited:
        renew(loop)


def _configure(backing: int, *, tag: str, mode: int, flags: int) -> tuple[int, Loop]:
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, tag.encode(), b"", b"", 0, 0)
    for _ in range(ATTEMPTS):
        number = _free_number()
        path = _node(number)
        device = os.open(path, mode | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, CONFIGURE, _CONFIG.pack(backing, 0, info))
            if mode == os.O_RDWR:
                # A device that was once set read-only stays so for its next user.
                fcntl.ioctl(device, BLKROSET, struct.pack("=i", 0))
            return device, _loop(device, path)
        except OSError as error:
            os.close(device)
            if error.errno == errno.EBUSY:
                continue  # another process took it first; request another one
            raise LoopDeviceError(f"{path} cannot be attached to the image: {error.strerror}") from None
    raise LoopDeviceError("every free loop device was taken by another process; try again")


def _free_number() -> int:
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LoopDeviceError(f"/dev/loop-control cannot be opened: {error.strerror}; loop volumes need it") from None
    try:
        return fcntl.ioctl(control, CTL_GET_FREE)
    except OSError as error:
        raise LoopDeviceError(f"the kernel has no free loop device: {error.strerror}; detach unused ones") from None
    finally:
        os.close(control)


def _node(number: int) -> Path:
    """Return the device's node; create it where it is missing, as in a container."""
    path = Path(f"/dev/loop{number}")
    if not path.exists():
        try:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(MAJOR, number))
        except FileExistsError:
            pass
        except OSError as error:
            raise LoopDeviceError(f"{path} is missing and cannot be created: {error.strerror}") from None
    return path


def find(image: Path, *, tag: str) -> list[Loop]:
    """Return the driver's devices over this image, also those that an earlier driver attached."""
    return [loop for loop in _attached(image.parent.name) if is_over(loop, image, tag=tag)]


def tagged(tag: str, *, volume_id: str = "") -> list[Loop]:
    """
    Return all devices with the tag, over any file; that file may have been deleted.

    With the id of the volume, devices over images of other volumes are not opened.
    """
    return [loop for loop in _attached(volume_id) if loop.tag == tag]


def of_volume(volume_id: str, *, tag: str, image: Path | None = None) -> list[Loop]:
    """Return all devices of a volume: by their tag, or on a failing disk by the path of the image."""
    return [loop for loop in _attached(volume_id) if loop.tag == tag or loop.may_be_over(volume_id, image)]


def over(image: Path) -> list[Loop]:
    """Return all devices over this file, with any tag."""
    status = image.stat()
    return [loop for loop in _attached() if loop.file == (status.st_dev, status.st_ino)]


def _attached(volume_id: str = "") -> list[Loop]:
    """Return all devices that may be over a file of the volume; those of others, whose disks may hang, stay closed."""
    names = [each.name for each in os.scandir("/sys/block") if each.name.startswith("loop")]
    attached = [name for name in sorted(names) if os.access(f"/sys/block/{name}/loop", os.F_OK)]
    found = [loop_at(Path("/dev", name)) for name in attached if not _is_of_another_volume(name, volume_id)]
    return [loop for loop in found if loop is not None]


def _is_of_another_volume(device: str, volume_id: str) -> bool:
    """Report whether the device's file, by sysfs, which accesses no disk and no lock, is another volume's image."""
    try:
        # unbounded: the kernel's own file, one path
        path = PurePath(os.fsdecode(Path("/sys/block", device, "loop/backing_file").read_bytes()).rstrip("\n"))
    except OSError:
        return False
    inside = len(path.parts) > _DEPTH and path.parts[-_DEPTH] in _PARENTS and path.name.split(" ")[0] == "image"
    return inside and volume_id not in path.parent.name


def is_over(loop: Loop, image: Path, *, tag: str) -> bool:
    """
    Report whether the device is the driver's and over this image.

    Where the image cannot be read, as on a failing disk, the tag alone decides: it names one volume of one pool.
    """
    if loop.backing:
        return loop.backing == str(image)
    try:
        status = image.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return loop.tag == tag
    return loop.tag == tag and loop.file == (status.st_dev, status.st_ino)


def loop_at(path: Path) -> Loop | None:
    """Return the attached device at this path; None for a detached one, and for any other file."""
    try:
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # it was detached meanwhile
    try:
        return _loop(device, path)
    except OSError as error:
        return None if error.errno in {errno.ENXIO, errno.ENOTTY} else _loop_on_failing_disk(path)
    finally:
        os.close(device)


def _loop_on_failing_disk(path: Path) -> Loop | None:
    """Return the device by sysfs, which accesses no disk."""
    backing = backing_file(path.name)
    try:
        # unbounded: the kernel's own file, one digit
        read_only = (Path("/sys/block") / path.name / "ro").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return None  # detached meanwhile
    return Loop(path, False, read_only, "", (0, 0), backing) if backing else None  # unknown, or not a loop device


def backing_file(name: str) -> str:
    """Return the path of the file below a device such as ``loop3``, as stored in the kernel; "" for other devices."""
    try:
        # unbounded: the kernel's own file, one path
        text = (Path("/sys/block") / name / "loop/backing_file").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return text.rstrip("\n").removesuffix(" (deleted)")


def refresh(loop: Loop) -> None:
    """Update the device to the size of its expanded image. Raises LoopDeviceError."""
    device = os.open(loop.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, SET_CAPACITY)
    except OSError as error:
        raise LoopDeviceError(f"{loop.path} cannot be updated to its image's new size: {error.strerror}") from None
    finally:
        os.close(device)


def detach(loop: Loop) -> None:
    """
    Detach the device; one in use is detached when its last user closes it. Raises LoopDeviceError.

    A device that was detached since `loop` was found, and may have another user now, is not changed: as long as it is
    open here no other process can attach it.
    """
    try:
        device = os.open(loop.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENXIO}:
            return
        raise LoopDeviceError(f"{loop.path} cannot be opened: {error.strerror}") from None
    try:
        if _is_unchanged(device, loop):
            _clear(device)
    except OSError as error:
        raise LoopDeviceError(f"{loop.path} cannot be detached: {error.strerror}") from None
    finally:
        os.close(device)


def _clear(device: int) -> None:
    """Detach now or when the last user closes the device. Raises OSError."""
    try:
        fcntl.ioctl(device, CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing is attached
            raise


def _is_unchanged(device: int, loop: Loop) -> bool:
    """Report whether the open device is over the same file; on a failing disk by the path in sysfs."""
    try:
        current = _loop(device, loop.path)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        failing = _loop_on_failing_disk(loop.path)
        return failing is not None and (not loop.backing or failing.backing == loop.backing)
    return bool(loop.backing) or (current.tag, current.file) == (loop.tag, loop.file)


def _loop(device: int, path: Path) -> Loop:
    fields = _INFO.unpack(fcntl.ioctl(device, GET_STATUS64, bytes(_INFO.size)))
    flags, tag = fields[8], fields[9].rstrip(b"\0").decode(errors="replace")
    return Loop(path, bool(flags & DIRECT_IO), bool(flags & READ_ONLY), tag, (fields[0], fields[1]))
