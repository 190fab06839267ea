"""
Errors of the machine, as one tree; each message names the object and, where there is one, the next step.

HostError
    CommandError            a program failed: `argv`, `exit_code`, `stderr`
    CommandTimeoutError     a program did not end within its time limit
    CommandNotFoundError    a program is not installed
    MountError              mount(2) or umount2(2) failed
        AlreadyMountedError     another filesystem is mounted at the path
        MountOptionsError       the kernel refuses these mount options
        StillInUseError         a mount or a device is in use, so it cannot be removed yet
        DuplicateUuidError      a mounted filesystem has the same UUID: `device`, `backing`
    FormatOptionsError      the mkfs program refuses these options
    NotBlankError           the image has other contents than the volume's filesystem; it is not formatted
    UuidChangeError         the UUID of a filesystem cannot be changed in its present state
    NotWhileMountedError    the operation is possible only while the volume is not in use
    LoopDeviceError         the kernel provides no loop device, or refuses an operation on one
    NoSpaceError            the disk below is full
    NotReservableError      the filesystem below cannot reserve blocks
    UnsafePathError         a path leads, or may lead, out of its allowed directory
    ImageLockedError        another process works on the image
    backends.existing: ItemNotFoundError, UnsuitableItemError, ItemInUseError
"""

from collections.abc import Sequence
from typing import ClassVar


class HostError(Exception):
    """An operation on the machine failed, or is refused because the caller has to change something first."""

    is_refusal: ClassVar[bool] = False
    """Whether nothing failed: the message is for the caller, and no error of the driver."""


class CommandError(HostError):
    """A program ended with an exit code that means failure."""

    def __init__(self, *, argv: Sequence[str], exit_code: int, stderr: str) -> None:
        lines = stderr.strip().splitlines()
        super().__init__(f"{argv[0]} failed with exit code {exit_code}: {lines[-1] if lines else 'no output'}")
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr


class CommandTimeoutError(HostError):
    """A program was killed because it exceeded its time limit."""


class CommandNotFoundError(HostError):
    """A program is not installed; the message names its Debian package."""


class MountError(HostError):
    """The kernel refused to mount or unmount."""


class AlreadyMountedError(MountError):
    """Another filesystem is mounted at the path; it is not changed."""


class MountOptionsError(MountError):
    """The kernel refuses the mount options, their combination, or one of them for this size."""


class StillInUseError(MountError):
    """A mount or a device is in use; end its use first."""


class DuplicateUuidError(MountError):
    """
    The kernel refuses to mount a filesystem because one with the same UUID is mounted.

    `device` is the device of the mounted one, and `backing` the image below a loop device; "" for any other device.
    """

    def __init__(self, message: str, *, device: str, backing: str) -> None:
        super().__init__(message)
        self.device = device
        self.backing = backing


class UuidChangeError(HostError):
    """The UUID of a filesystem cannot be changed now; the message names what has to be done first."""


class FormatOptionsError(HostError):
    """A filesystem cannot be created with these options; the message has the output of the mkfs program."""


class NotBlankError(HostError):
    """Formatting would destroy data."""


class NotWhileMountedError(HostError):
    """The kernel refuses the operation as long as the volume is mounted."""


class LoopDeviceError(HostError):
    """No loop device is available, or the kernel refuses an operation on one."""


class NoSpaceError(HostError):
    """The filesystem below the pool is full."""


class NotReservableError(HostError):
    """The filesystem below the pool has no fallocate(2)."""


class UnsafePathError(HostError):
    """The path has a link, a mount or another file where none is allowed."""


class ImageLockedError(HostError):
    """Another process has the image's lock; nothing was changed, and the call can be repeated."""
