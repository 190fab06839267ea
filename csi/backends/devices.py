"""Showing an image through a loop device: as a mounted filesystem, or as the raw device."""

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from csi.backends import bindings, images
from csi.backends.protocol import Shape, Usage
from csi.host import files, filesystems, loopdev, mounts, superblocks
from csi.host.errors import MountFailed
from csi.host.loopdev import Loop

DETACH_SECONDS: Final = 5.0
DETACH_STEP: Final = 0.005


class _Image:
    """What both have in common: the devices over an image, and how they go."""

    def detach(self, home: Path, shape: Shape) -> None:
        """Wait for the devices to go; one that is still mounted is refused."""
        image, tag = home / "image", loopdev.tag_of(shape.volume_id)
        deadline = time.monotonic() + DETACH_SECONDS
        while found := loopdev.find(image, tag=tag):
            nodes = {str(loop.path) for loop in found}
            if (used := next((each for each in mounts.table() if each.source in nodes), None)) is not None:
                raise MountFailed(f"volume {shape.volume_id} is still mounted at {used.target}; unmount it first")
            if time.monotonic() > deadline:
                raise MountFailed(f"volume {shape.volume_id}: {found[0].path} stays attached; something has it open")
            for loop in found:
                loopdev.detach(loop)
            time.sleep(DETACH_STEP)

    def unpublish(self, home: Path, shape: Shape, *, target: Path) -> None:
        """Unbind it and remove the mount point."""
        del home, shape
        bindings.unpublish(target=target)


class MountedImage(_Image):
    """The filesystem is mounted; the device goes with the mount, so neither a crash nor a lazy unmount leaks one."""

    def stage(self, home: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Check it where it needs that, attach, mount, and grow it where its image has grown since."""
        if mounts.is_mount(staging):
            if self.is_staged(home, shape, staging=staging):
                return
            raise MountFailed(f"volume {shape.volume_id}: something else is mounted at {staging}")
        image = images.require(home, shape, at_least=shape.size_bytes)
        if superblocks.remembers_errors(image, fs_type=shape.fs_type):
            filesystems.check(image)
        grown = not superblocks.extent(image, fs_type=shape.fs_type).fills(shape.size_bytes)
        if grown and filesystems.KINDS[shape.fs_type].grows_unmounted:
            filesystems.grow_unmounted(image)
            grown = False
        with loopdev.attached(image, tag=loopdev.tag_of(shape.volume_id)) as loop:
            mounts.mount(str(loop.path), staging, fs_type=shape.fs_type, options=mount_flags)
            if grown and "ro" not in mount_flags:
                self.grow(shape, loop, path=staging)

    def grow(self, shape: Shape, loop: Loop, *, path: Path) -> None:
        """While it is in use."""
        filesystems.grow(fs_type=shape.fs_type, device=loop.path, target=path)

    def unstage(self, home: Path, shape: Shape, *, staging: Path) -> None:
        """Unmount it and see that the device is gone."""
        mounts.unmount(staging)
        self.detach(home, shape)

    def publish(
        self, home: Path, shape: Shape, *, staging: Path, target: Path, read_only: bool, mount_flags: Sequence[str]
    ) -> None:
        """Bind what is staged to the target."""
        del home, shape
        bindings.publish(staging=staging, target=target, read_only=read_only, mount_flags=mount_flags)

    def is_staged(self, home: Path, shape: Shape, *, staging: Path) -> bool:
        """The filesystem there comes from a device of ours over this image."""
        loop = _device_below(staging)
        return loop is not None and loopdev.is_over(loop, home / "image", tag=loopdev.tag_of(shape.volume_id))

    def is_published(self, home: Path, shape: Shape, *, target: Path) -> bool:
        """A bind mount keeps its source."""
        return self.is_staged(home, shape, staging=target)

    def usage(self, shape: Shape, *, path: Path) -> Usage:
        """What its own filesystem says."""
        del shape
        space = files.filesystem_space(path)
        used = space.total - space.free
        if not space.inodes:  # btrfs makes them as it goes
            return Usage(space.total, used, space.available, None, None, None)
        return Usage(
            space.total, used, space.available, space.inodes, space.inodes - space.free_inodes, space.free_inodes
        )


def _device_below(path: Path) -> Loop | None:
    """
    The loop device whose filesystem is mounted there.

    A file's device number tells, but not on btrfs, which has numbers of its own: there the table's source is asked.
    """
    if not mounts.is_mount(path):
        return None
    device = path.stat().st_dev
    if os.major(device) == loopdev.MAJOR:
        return loopdev.loop_at(Path(f"/dev/loop{os.minor(device)}"))
    there = mounts.at(path)
    return loopdev.loop_at(Path(there.source)) if there and there.source.startswith("/dev/loop") else None


class RawImage(_Image):
    """
    The device itself is shown, bound to a file.

    Nothing mounts the device, so it stays attached until it is unstaged. A read-only publication gets a read-only
    device of its own, because the kernel does not look at a mount's options when a device is opened for writing.
    """

    def stage(self, home: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Attach it; the staging path stays as it is."""
        del staging, mount_flags
        image = images.require(home, shape, at_least=shape.size_bytes)
        loopdev.refresh(loopdev.attach(image, tag=loopdev.tag_of(shape.volume_id), read_only=False))

    def grow(self, shape: Shape, loop: Loop, *, path: Path) -> None:
        """The device has grown, and there is nothing on it that we know."""

    def unstage(self, home: Path, shape: Shape, *, staging: Path) -> None:
        """Detach it."""
        del staging
        self.detach(home, shape)

    def publish(
        self, home: Path, shape: Shape, *, staging: Path, target: Path, read_only: bool, mount_flags: Sequence[str]
    ) -> None:
        """Bind the device, or a read-only one over the same image, to a file."""
        del staging, mount_flags
        loop = loopdev.attach(home / "image", tag=loopdev.tag_of(shape.volume_id), read_only=read_only)
        if mounts.is_mount(target):
            if target.stat().st_rdev == loop.path.stat().st_rdev:
                return
            raise MountFailed(f"something else is mounted at {target} already")
        bindings.make_target(target, file=True)
        mounts.bind(loop.path, target)

    def is_staged(self, home: Path, shape: Shape, *, staging: Path) -> bool:
        """A writable device of ours is over this image; where it is staged only the record knows."""
        del staging
        found = loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id))
        return any(not loop.read_only for loop in found)

    def is_published(self, home: Path, shape: Shape, *, target: Path) -> bool:
        """A device of ours over this image is bound there."""
        if not mounts.is_mount(target):
            return False
        try:
            there = target.stat()
        except FileNotFoundError:
            return False
        found = loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id))
        return stat.S_ISBLK(there.st_mode) and there.st_rdev in {loop.path.stat().st_rdev for loop in found}

    def usage(self, shape: Shape, *, path: Path) -> Usage:
        """Only its size is known."""
        del path
        return Usage(shape.size_bytes, None, None, None, None, None)

    def detach(self, home: Path, shape: Shape) -> None:
        """As for any image; a device that is still bound somewhere is refused, though no mount names it as source."""
        rdevs = {loop.path.stat().st_rdev for loop in loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id))}
        for each in mounts.table():
            if rdevs and each.root.startswith("/loop") and each.target.stat().st_rdev in rdevs:
                raise MountFailed(f"volume {shape.volume_id} is still shown at {each.target}; unpublish it first")
        super().detach(home, shape)
