"""
Unpublishing and unstaging of volumes, the same for every backend, by the mount table.

The pool's disk is neither read nor written, and no record is needed: the mount at the path identifies its volume.
Records only add which mount points the driver created and may remove. All functions may be repeated at any time.
"""

import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.backends import mount_facts
from csi.backends.mount_facts import Identity, Match
from csi.host import loopdev, mounts
from csi.host.errors import AlreadyMountedError, StillInUseError, UnsafePathError
from csi.host.holders import process_using

DETACH_SECONDS: Final = 10.0
"""Seconds that a device may stay attached after the unmount: udev opens it, and closes it late on a busy machine."""

DETACH_STEP: Final = 0.005
DETACH_LONGEST_STEP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Removal:
    """
    What is known about a volume at a path.

    `recorded`: the volume was mounted here since this machine started. `mount_point`: the driver created the mount
    point, maybe before that. `others` are volumes of the same id in other pools: an exact match with one of them is
    not unmounted.
    """

    volume: Identity
    path: Path
    recorded: bool = False
    mount_point: bool = False
    others: Sequence[Identity] = ()


def unpublish(removal: Removal) -> None:
    """
    Unmount the volume from a target and remove the mount point.

    Raises AlreadyMountedError where another volume is mounted, and UnsafePathError where the path has other files;
    neither is changed. A missing path is no error, nor is an empty directory or file that the driver did not create;
    it is not removed.
    """
    created = unmount(removal) or removal.mount_point
    try:
        _remove_mount_point(removal.path, created=created)
    except OSError as error:
        raise UnsafePathError(f"the mount point {removal.path} cannot be removed: {error.strerror}") from error


def _remove_mount_point(path: Path, *, created: bool) -> None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    directory = stat.S_ISDIR(found.st_mode)
    if not (directory and not any(path.iterdir())) and not (stat.S_ISREG(found.st_mode) and not found.st_size):
        message = "has files that are not the volume's" if directory else "is not a mount point of the volume"
        raise UnsafePathError(f"{path} {message}; it is not changed. Move it away, then repeat the call")
    if created:
        path.rmdir() if directory else path.unlink()


def unmount(removal: Removal) -> bool:
    """
    Unmount every mount of the volume at the path; return whether there was one.

    Raises AlreadyMountedError, StillInUseError.
    """
    found = False
    while mounts.is_mount(removal.path) and (mounted := mounts.at(removal.path)) is not None:
        if not _may_unmount(mounted, removal):
            if found:
                return found
            message = f"the mount at {removal.path} is not of volume {removal.volume.handle}; it is not unmounted"
            raise AlreadyMountedError(message)
        mounts.unmount_top(removal.path)
        found = True
    return found


def _may_unmount(mount: mounts.Mount, removal: Removal) -> bool:
    result = mount_facts.match(mount, removal.volume)
    if result is Match.EXACT:
        return True
    if any(mount_facts.match(mount, other) is Match.EXACT for other in removal.others):
        return False
    return result is Match.LIKELY or removal.recorded


def unstage(removal: Removal, *, mounted: bool, devices: bool) -> None:
    """
    Unmount the volume from its staging path and wait until its loop devices are detached.

    `devices`: there may be loop devices. With `mounted` false the volume is never mounted at its staging path; a
    mount there belongs to something else, and stays. Raises AlreadyMountedError, StillInUseError.
    """
    volume = removal.volume
    loops = loopdev.of_volume(volume.volume_id, tag=volume.tag, image=volume.image) if devices else []
    with loopdev.releasing(loops):
        if mounted:
            unmount(removal)
        if devices:
            _detach(volume)


def detach(volume: Identity) -> None:
    """
    Wait until the volume's loop devices are detached. Raises StillInUseError for one that is mounted, bound or open.

    They are found by their tag, which names the volume and its pool: the image may be missing with its disk.
    """
    with loopdev.releasing(loopdev.of_volume(volume.volume_id, tag=volume.tag, image=volume.image)):
        _detach(volume)


def _detach(volume: Identity) -> None:
    deadline, step = time.monotonic() + DETACH_SECONDS, DETACH_STEP
    # unbounded: until the deadline of DETACH_SECONDS
    while found := loopdev.of_volume(volume.volume_id, tag=volume.tag, image=volume.image):
        names = {loop.path.name for loop in found}
        used = (each for each in mounts.table() if f"loop{mount_facts.loop_number(each)}" in names)
        if (mount := next(used, None)) is not None:
            raise StillInUseError(f"volume {volume.handle} is still mounted at {mount.target}; unmount it first")
        if time.monotonic() > deadline:
            device = found[0].path
            user = process_using(device) or "a process has it open, or it is mounted in another mount namespace"
            raise StillInUseError(
                f"volume {volume.handle}: {device} stays attached: {user}; end that process and try again"
            )
        for loop in found:
            loopdev.detach(loop)
        time.sleep(step)
        step = min(2 * step, DETACH_LONGEST_STEP)
