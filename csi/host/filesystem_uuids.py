"""
UUIDs of filesystems on images: which mounted filesystems have one, and how the UUID of a copy is changed.

The kernel mounts no two xfs, and before Linux 6.7 no two btrfs, with the same UUID at a time; it does not compare those
of ext4.
"""

import shlex
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host import superblocks
from csi.host.commands import Limit, run
from csi.host.errors import CommandError, UuidChangeError
from csi.host.locks import Locked

_SYSTEM: Final = Path("/sys/fs")
_DEVICES: Final = Path("/dev")
_REPAIRED: Final = 1
"""Exit code of e2fsck after it changed something."""

_Step = Callable[[str, str], list[str]]
"""The command line for an image and a UUID."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Commands to change the UUID of one filesystem type; `remedy` is the admin's next step when that fails."""

    steps: tuple[_Step, ...]
    remedy: str
    by_hand: str
    """Command for an admin to change an image's UUID, without the image's path."""


# None of them is a shell script, as xfs_admin is. The UUID of an ext4 whose metadata has checksums can be changed only
# right after a check, which also replays its journal. For btrfs, -M keeps the old UUID in the metadata and is fast; -u
# rewrites all metadata, in time proportional to its size.
_CHANGES: Final = {
    "ext4": _Change(
        (
            lambda image, _: ["e2fsck", "-f", "-p", image],
            lambda image, uuid: ["tune2fs", "-U", uuid, image],
        ),
        "repair it with e2fsck -f",
        "tune2fs -U random",
    ),
    "xfs": _Change(
        (lambda image, uuid: ["xfs_db", "-x", "-c", f"uuid {uuid}", image],),
        "mount it once with -o loop,nouuid and unmount it, which replays its log",
        "xfs_db -x -c 'uuid generate'",
    ),
    "btrfs": _Change(
        (lambda image, uuid: ["btrfstune", "-M", uuid, image],),
        "mount it once and unmount it while nothing with the same UUID is mounted, which replays its log",
        "btrfstune -m",
    ),
}


def mounted_from(fs_type: str, uuid: str) -> list[str]:
    """
    Return the names of the block devices with a mounted filesystem of this type and UUID, such as ``loop3``.

    The kernel lists mounted filesystems by type, in all mount namespaces. A device that cannot be read is skipped.
    Sources: Linux, Documentation/ABI/testing/sysfs-fs-xfs, -ext4, and fs/btrfs/sysfs.c.
    """
    if fs_type == "btrfs":
        return _names(_SYSTEM / "btrfs" / uuid / "devices")
    return [name for name in _names(_SYSTEM / fs_type) if _uuid_on(_DEVICES / name, fs_type) == uuid]


def _names(directory: Path) -> list[str]:
    try:
        return sorted(each.name for each in directory.iterdir())
    except OSError:
        return []


def _uuid_on(device: Path, fs_type: str) -> str:
    try:
        return superblocks.uuid(device, fs_type=fs_type) if device.is_block_device() else ""
    except (OSError, struct.error):
        return ""


def change(image: Locked, *, fs_type: str, uuid: str) -> None:
    """
    Set the UUID of the filesystem on an image that is not in use; one that has the UUID already is not changed.

    Raises UuidChangeError where the UUID cannot be changed now, mostly because of a log that has not been replayed; the
    files in the filesystem are then unchanged.
    """
    if superblocks.uuid(image.path, fs_type=fs_type) == uuid:
        return
    how = _CHANGES[fs_type]
    reason = "its log is not replayed"
    if not superblocks.has_pending_log(image.path, fs_type=fs_type):
        try:
            for step in how.steps:
                argv = step(str(image.path), uuid)
                run(
                    argv,
                    limit=Limit.CHECK,
                    ok=(0, _REPAIRED) if argv[0] == "e2fsck" else (0,),
                    inherit=(image.descriptor,),
                )
        except CommandError as error:
            reason = str(error)
        if superblocks.uuid(image.path, fs_type=fs_type) == uuid:  # xfs_db exits with 0 also when it refuses
            return
    raise UuidChangeError(f"the {fs_type} on {image.path} cannot get a new UUID: {reason}; {how.remedy}")


def by_hand(image: Path, *, fs_type: str) -> str:
    """Return the command with which an admin can change the image's UUID."""
    return f"{_CHANGES[fs_type].by_hand} {shlex.quote(str(image))}"
