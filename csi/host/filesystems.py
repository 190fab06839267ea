"""Filesystems on images: looking, making, checking, growing. Nothing is formatted that is not known to be blank."""

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
    One kind: its least size in bytes (with a journal, measured with Debian 12's tools), and its programs.

    `make` is the command line for a UUID without the image's path; `grow` the one for a device and its mount point.
    `grows_unmounted` tells whether the image itself can be grown, too, while nothing has it mounted.
    """

    minimum: int
    create_command: Callable[[str], list[str]]
    expand_command: Callable[[str, str], list[str]]
    expands_unmounted: bool = False


# No discard anywhere: the image is sparse already where it is thin, and must stay allocated where it is thick.
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
"""The filesystems that loop volumes can have, the default first."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is on an image: its filesystem and that one's UUID."""

    fs_type: str
    uuid: str


def probe(image: Path) -> Found | None:
    """
    What is on the image; None only when it is blank for certain.

    Of blkid's answers only "nothing found" means blank. Any other that is not a plain filesystem raises NotBlank.
    """
    try:
        image.open("rb").close()  # blkid says "nothing found" of a file that it cannot read, too
        done = run(["blkid", "-p", "-o", "export", str(image)], limit=Limit.QUERY, ok=(0, _NOTHING_FOUND))
    except (CommandError, OSError) as error:
        raise NotBlankError(f"what is on {image} cannot be told ({error}); it is left as it is") from None
    if done.exit_code == _NOTHING_FOUND:
        if done.stdout.strip():
            raise NotBlankError(f"what is on {image} cannot be told; it is left as it is")
        return None
    fields = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if not fields.get("TYPE"):
        what = fields.get("PTTYPE", "something that is no filesystem")
        raise NotBlankError(f"{image} holds {what}; it is left as it is")
    return Found(fields["TYPE"], fields.get("UUID", ""))


def create(image: Locked, *, fs_type: str, uuid: str, options: Sequence[str] = ()) -> None:
    """
    Make a filesystem with this UUID on a blank image; raises NotBlank for any other, and CommandError.

    An image without a single byte of data is blank, and no program has to be asked. Raises FormatRefused where the
    program does not take the options: its exit code does not tell that from other failures, so its words are passed on.
    """
    if not _is_all_holes(image.path) and (found := probe(image.path)) is not None:
        raise NotBlankError(
            f"{image.path} already holds {found.fs_type} with UUID {found.uuid}; it is not formatted again"
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
    """Whether the program failed because the disk is full."""
    return os.strerror(errno.ENOSPC) in error.stderr


def _is_all_holes(image: Path) -> bool:
    """Whether the file has no data at all; allocated blocks that were never written count as holes."""
    descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError as error:
        return error.errno == errno.ENXIO
    finally:
        os.close(descriptor)
    return False


def check(image: Locked) -> None:
    """Repair an ext4 that can be repaired without asking; raises CommandError when somebody has to look."""
    _check(image)


def expand_mounted(image: Locked, *, fs_type: str, device: Path, target: Path) -> None:
    """
    Let the mounted filesystem of an image use all of its device; one that does already is fine.

    Raises NotWhileMounted where the kernel does not let this process do it, and CommandError.
    """
    try:
        run(KINDS[fs_type].expand_command(str(device), str(target)), limit=Limit.FORMAT, inherit=[image.descriptor])
    except CommandError as error:
        if fs_type == "ext4" and not _has_capability(_SYS_RESOURCE):
            raise NotWhileMountedError(
                f"the ext4 at {target} cannot grow while it is mounted: the kernel wants the capability "
                f"CAP_SYS_RESOURCE for it, which the driver lacks; it grows when it is staged the next time"
            ) from error
        raise


def expand_unmounted(image: Locked) -> None:
    """Let an ext4 that nothing has mounted use all of its image, after a check. Raises CommandError."""
    _check(image, "-f")
    run(["resize2fs", str(image.path)], limit=Limit.FORMAT, inherit=[image.descriptor])


def _check(image: Locked, *options: str) -> None:
    run(["e2fsck", *options, "-p", str(image.path)], limit=Limit.CHECK, ok=(0, 1), inherit=[image.descriptor])


def _has_capability(number: int) -> bool:
    # unbounded: the kernel's own file on this process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> number & 1)
