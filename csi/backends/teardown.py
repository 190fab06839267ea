"""
Taking volumes away from paths, the same for every backend: unmount first, by the mount table.

Nothing is read from or written to the pool's disk, and no record is needed: what is mounted at the path says whose it
is. Records only add which mount points are ours to remove. All functions may be repeated at any time.
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
"""How long a device may stay after the unmount: udev looks at it, and a busy machine takes its time to close it."""

DETACH_STEP: Final = 0.005
DETACH_LONGEST_STEP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Removal:
    """
    What is known of a volume at a path.

    `recorded`: the volume was mounted here since this machine started. `mount_point`: we created the mount point, maybe
    before that. `others` are volumes of the same id in other pools: what is surely one of theirs is not taken away.
    """

    volume: Identity
    path: Path
    recorded: bool = False
    mount_point: bool = False
    others: Sequence[Identity] = ()


def unpublish(removal: Removal) -> None:
    """
    Unmount the volume from a target and remove the mount point.

    Raises AlreadyMounted where another mount is there, and UnsafePath where files are there that are not ours; both are
    left alone. Nothing there, or an empty directory or file that we did not create, is fine, and left alone, too.
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
        message = "holds files that are not the volume's" if directory else "is not a mount point of the volume"
        raise UnsafePathError(f"{path} {message}; it is left alone. Move it away, then repeat the call")
    if created:
        path.rmdir() if directory else path.unlink()


def unmount(removal: Removal) -> bool:
    """Unmount every mount of the volume at the path; whether there was one. Raises AlreadyMounted, StillInUse."""
    found = False
    while mounts.is_mount(removal.path) and (mounted := mounts.at(removal.path)) is not None:
        if not _may_unmount(mounted, removal):
            if found:
                return found
            message = f"what is mounted at {removal.path} is not volume {removal.volume.handle}; it is left alone"
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
    Unmount the volume from its staging path and wait for its loop devices to go; `devices`: there may be some.

    A volume that is never mounted there (`mounted` false) leaves the path alone: what is mounted is another's.
    Raises AlreadyMounted, StillInUse.
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
    Wait a moment for the volume's loop devices to go. Raises StillInUse for one that is mounted, bound or open.

    They are found by their tag, which names the volume and its pool: the image may be gone with its disk.
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
            user = process_using(device) or "something has it open, or mounted in another mount namespace"
            raise StillInUseError(f"volume {volume.handle}: {device} stays attached: {user}; end that and try again")
        for loop in found:
            loopdev.detach(loop)
        time.sleep(step)
        step = min(2 * step, DETACH_LONGEST_STEP)
