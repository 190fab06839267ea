"""Filesystems on images: probe, create, check, expand. Only an image that is known to be blank is formatted."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.commands import Limit, run
from csi.host.errors import CommandError, FormatOptionsError, NotBlankError, NotWhileMountedError
from csi.host.locks import Locked

_NOTHING_FOUND: Final = 2
_SYS_RESOURCE: Final = 24
"""CAP_SYS_RESOURCE, see capabilities(7)."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """
    One filesystem type: its least size in bytes (with a journal, measured with Debian 12's tools), and its commands.

    `create_command` returns the mkfs command line for a UUID, without the image's path; `expand_command` the one for a
    device and its mount point. `expands_unmounted` is whether an image can be expanded while it is not mounted, too.
    """

    minimum: int
    create_command: Callable[[str], list[str]]
    expand_command: Callable[[str, str], list[str]]
    expands_unmounted: bool = False


# No command discards blocks: a thin image is sparse already, and a thick one must stay allocated.
KINDS: Final = {
    "ext4": Filesystem(
        2 << 20,
        lambda uuid: (
            ["mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid, "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"]
        ),
        lambda device, _: ["resize2fs", device],
        expands_unmounted=True,
    ),
    "xfs": Filesystem(
        300 << 20,
        lambda uuid: ["mkfs.xfs", "-q", "-K", "-m", f"uuid={uuid}"],
        lambda _, target: ["xfs_growfs", "-d", target],
    ),
    "btrfs": Filesystem(
        109 << 20,
        lambda uuid: ["mkfs.btrfs", "-q", "-K", "-U", uuid],
        lambda _, target: ["btrfs", "filesystem", "resize", "max", target],
    ),
}
"""Filesystem types of loop volumes, the default first."""


@dataclass(frozen=True, slots=True)
class Found:
    """The filesystem on an image: its type and UUID."""

    fs_type: str
    uuid: str


def probe(image: Path) -> Found | None:
    """
    Return the filesystem on the image; None only when the image is certainly blank.

    Only blkid's result "nothing found" means blank. Raises NotBlankError for any other contents than a filesystem.
    """
    try:
        image.open("rb").close()  # blkid reports "nothing found" for a file that it cannot read, too
        done = run(["blkid", "-p", "-o", "export", str(image)], limit=Limit.QUERY, ok=(0, _NOTHING_FOUND))
    except (CommandError, OSError) as error:
        raise NotBlankError(f"the contents of {image} cannot be identified ({error}); it is not changed") from None
    if done.exit_code == _NOTHING_FOUND:
        if done.stdout.strip():
            raise NotBlankError(f"the contents of {image} cannot be identified; it is not changed")
        return None
    fields = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if not fields.get("TYPE"):
        what = fields.get("PTTYPE", "data that is not a filesystem")
        raise NotBlankError(f"{image} has {what}; it is not changed")
    return Found(fields["TYPE"], fields.get("UUID", ""))


def create(image: Locked, *, fs_type: str, uuid: str, options: Sequence[str] = ()) -> None:
    """
    Create a filesystem with this UUID on a blank image. Raises NotBlankError for any other image, and CommandError.

    An image without a single byte of data is blank without a check by blkid. Raises FormatOptionsError where the
    program refuses the options: its exit code is the same for other failures, so the message has its output.
    """
    if not _is_all_holes(image.path) and (found := probe(image.path)) is not None:
        raise NotBlankError(
            f"{image.path} already has {found.fs_type} with UUID {found.uuid}; it is not formatted again"
        )
    try:
        run(
            [*KINDS[fs_type].create_command(uuid), *options, str(image.path)],
            limit=Limit.FORMAT,
            inherit=[image.descriptor],
        )
    except CommandError as error:
        if not options or _is_full(error):
            raise
        raise FormatOptionsError(str(error)) from None


def _is_full(error: CommandError) -> bool:
    """Report whether the program failed because the disk is full."""
    return os.strerror(errno.ENOSPC) in error.stderr


def _is_all_holes(image: Path) -> bool:
    """Report whether the file has no data at all; allocated blocks that were never written count as holes."""
    descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError as error:
        return error.errno == errno.ENXIO
    finally:
        os.close(descriptor)
    return False


def check(image: Locked) -> None:
    """Check an ext4 and repair it where that is safe. Raises CommandError when an admin has to repair it."""
    _check(image)


def expand_mounted(image: Locked, *, fs_type: str, device: Path, target: Path) -> None:
    """
    Expand the mounted filesystem of an image to the size of its device; may be repeated.

    Raises NotWhileMountedError where the kernel refuses that to this process, and CommandError.
    """
    try:
        run(KINDS[fs_type].expand_command(str(device), str(target)), limit=Limit.FORMAT, inherit=[image.descriptor])
    except CommandError as error:
        if fs_type == "ext4" and not _has_capability(_SYS_RESOURCE):
            raise NotWhileMountedError(
                f"the ext4 at {target} cannot be expanded while it is mounted: the kernel requires the capability "
                f"CAP_SYS_RESOURCE, which the driver lacks; it is expanded the next time the volume is staged"
            ) from error
        raise


def expand_unmounted(image: Locked) -> None:
    """Check an unmounted ext4 and expand it to the size of its image. Raises CommandError."""
    _check(image, "-f")
    run(["resize2fs", str(image.path)], limit=Limit.FORMAT, inherit=[image.descriptor])


def _check(image: Locked, *options: str) -> None:
    run(["e2fsck", *options, "-p", str(image.path)], limit=Limit.CHECK, ok=(0, 1), inherit=[image.descriptor])


def _has_capability(number: int) -> bool:
    # unbounded: the kernel's own file on this process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> number & 1)
