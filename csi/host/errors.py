"""
What can go wrong at the machine, as one tree; each sentence names the object and, where there is one, the next step.

HostError
    CommandError        a program said no: `argv`, `exit_code`, `stderr`
    CommandTimeout      it did not end within the limit of its kind
    CommandMissing      it is not installed
    MountFailed         mount(2) or umount2(2) said no
        AlreadyMounted      another mount is at the path
        OptionsRefused      the kernel does not take these mount options
        StillInUse          a mount or a device is still used, so it cannot be taken away yet
        SameUuid            a mounted filesystem has the same UUID: `device`, `backing`
    FormatRefused       the program that makes a filesystem does not take these options
    NotBlank            something other than the volume's own filesystem is on the image; it is not formatted
    UuidNotChanged      a filesystem cannot get another UUID as it is now
    NotWhileMounted     it can be done only while the volume is not in use
    NoLoopDevice        the kernel gives no loop device
    NoSpace             the disk below is full
    NotReservable       the filesystem below cannot reserve blocks
    UnsafePath          a path that leads, or may lead, out of where it belongs
    ImageLocked         another process works on the image
"""

from collections.abc import Sequence


class HostError(Exception):
    """The machine did not do what was asked."""


class CommandError(HostError):
    """A program ended with an exit code that means failure."""

    def __init__(self, *, argv: Sequence[str], exit_code: int, stderr: str) -> None:
        lines = stderr.strip().splitlines()
        super().__init__(f"{argv[0]} failed with exit code {exit_code}: {lines[-1] if lines else 'it lines nothing'}")
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr


class CommandTimeoutError(HostError):
    """A program was killed because it took longer than its kind may."""


class CommandNotFoundError(HostError):
    """A program is not installed; the sentence names the Debian package that has it."""


class MountError(HostError):
    """The kernel refused to mount or unmount."""


class AlreadyMountedError(MountError):
    """Another mount is at the path, and is left alone."""


class MountOptionsError(MountError):
    """The kernel does not take the options, or not together, or not for this size; others would do."""


class StillInUseError(MountError):
    """A mount or a device is still used; take away what uses it first."""


class DuplicateUuidError(MountError):
    """
    The kernel refuses a filesystem because one with its UUID is mounted.

    `device` is what that one is mounted from, and `backing` the image below a loop device; "" for any other device.
    """

    def __init__(self, message: str, *, device: str, backing: str) -> None:
        super().__init__(message)
        self.device = device
        self.backing = backing


class UuidChangeError(HostError):
    """The filesystem needs something else first; the sentence says what."""


class FormatOptionsError(HostError):
    """A filesystem cannot be made with these options; the text is what its program said."""


class NotBlankError(HostError):
    """Formatting would destroy something."""


class NotWhileMountedError(HostError):
    """The kernel refuses it as long as the volume is mounted."""


class LoopDeviceError(HostError):
    """No loop device can be had."""


class NoSpaceError(HostError):
    """The filesystem below the pool is full."""


class NotReservableError(HostError):
    """The filesystem below the pool has no fallocate(2)."""


class UnsafePathError(HostError):
    """A link, a mount or a stranger's file where there must be none."""


class ImageLockedError(HostError):
    """Another process holds the image's lock; nothing was changed, and the call can be repeated."""
