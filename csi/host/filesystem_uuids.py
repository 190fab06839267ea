"""
UUIDs of filesystems on images: who else on this machine has one, and how a copy gets one of its own.

The kernel mounts no two xfs, and before Linux 6.7 no two btrfs, with the same UUID at a time; ext4 it does not compare.
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
    """How the UUID of one kind of filesystem is changed, and what to do when its log has to be replayed first."""

    steps: tuple[_Step, ...]
    remedy: str
    by_hand: str
    """A command that gives an image another UUID, without the image's path."""


# All of them are programs; xfs_admin would be a shell script. An ext4 whose metadata has checksums takes a new UUID
# only right after a check, which also replays its journal. btrfs keeps the former UUID inside its metadata (-M), which
# takes a moment where rewriting all of it (-u) takes as long as there is metadata.
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
    Return the names of the block devices with a mounted filesystem of this kind and UUID, such as ``loop3``.

    The kernel lists what is mounted by kind, whichever mount namespace it is mounted in. A device that cannot be read
    is left out. Sources: Linux, Documentation/ABI/testing/sysfs-fs-xfs, -ext4, and fs/btrfs/sysfs.c.
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
    Give the filesystem on an image that nothing uses this UUID; one that has it already is left alone.

    Raises UuidNotChanged where it cannot be changed as it is now, above all with a log that is not replayed; then the
    files in it are untouched.
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
        if superblocks.uuid(image.path, fs_type=fs_type) == uuid:  # xfs_db ends with 0 also when it refuses
            return
    raise UuidChangeError(f"the {fs_type} on {image.path} cannot get a UUID of its own: {reason}; {how.remedy}")


def by_hand(image: Path, *, fs_type: str) -> str:
    """Return the command with which an admin gives the image another UUID."""
    return f"{_CHANGES[fs_type].by_hand} {shlex.quote(str(image))}"
