"""Volumes as images with a filesystem of their own: the kernel enforces the size, to the byte."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from csi.backends.bindings import Binds
from csi.backends.protocol import Shape, Usage
from csi.host import files, filesystems, loopdev, mounts
from csi.host.errors import HostError, MountFailed, NotBlank

DETACH_SECONDS = 5.0
DETACH_STEP = 0.005


class Loop(Binds):
    """The bytes are ``<home>/image``; staging mounts it through a loop device that goes with the mount."""

    name = "loop"
    enforces_size = True

    def problem(self) -> str:
        """Loop devices take root on the machine itself, not only in a namespace."""
        if os.geteuid() != 0 or not _may_mount_devices():
            return "backend loop needs root: an ordinary user may not attach loop devices; use backend directory"
        if not Path("/dev/loop-control").exists():
            return "backend loop needs /dev/loop-control, which is not there; load the kernel module loop"
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """Default first."""
        return ("ext4",)

    def minimum_bytes(self, fs_type: str) -> int:
        """What the filesystem's tools accept with a journal."""
        return filesystems.MINIMUM[fs_type]

    def create(self, home: Path, shape: Shape) -> None:
        """
        Make the image under another name, format it, and only then call it ``image``.

        So an interrupted start over is harmless: what has the final name is whole, anything else was never used.
        """
        image, unfinished = home / "image", home / "image.new"
        if image.exists():
            self._verify(image, shape)
            return
        unfinished.unlink(missing_ok=True)
        with files.reporting_no_space(home), unfinished.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            if shape.provisioning == "thick":
                os.posix_fallocate(file.fileno(), 0, shape.size_bytes)
            else:
                file.truncate(shape.size_bytes)
        if shape.access_type == "mount":
            filesystems.make(unfinished, fs_type=shape.fs_type, uuid=shape.fs_uuid)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        files.rename_durably(unfinished, image)

    def _verify(self, image: Path, shape: Shape) -> None:
        size = image.stat().st_size
        if size != shape.size_bytes:
            raise HostError(f"volume {shape.volume_id}: {image} has {size} bytes, its manifest says {shape.size_bytes}")
        if shape.access_type == "mount":
            found = filesystems.probe(image)
            if found is None or (found.fs_type, found.uuid) != (shape.fs_type, shape.fs_uuid):
                raise NotBlank(
                    f"volume {shape.volume_id}: {image} does not hold its own filesystem; it is left as it is"
                )

    def stage(self, home: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Attach the image, with direct I/O where that works, and mount it."""
        if shape.access_type != "mount":
            raise HostError(f"volume {shape.volume_id}: raw block volumes are not offered in this version")
        image, tag = home / "image", loopdev.tag_of(shape.volume_id)
        if mounts.at(staging) is not None:
            if self.owns(home, shape, path=staging):
                return
            raise MountFailed(f"volume {shape.volume_id}: something else is mounted at {staging}")
        if not image.exists():
            raise HostError(f"volume {shape.volume_id}: its image {image} is missing; is the pool's disk mounted?")
        if filesystems.needs_check(image):
            filesystems.check(image)
        with loopdev.attached(image, tag=tag) as loop:
            mounts.mount(str(loop.path), staging, fs_type=shape.fs_type, options=mount_flags)

    def unstage(self, home: Path, shape: Shape, *, staging: Path) -> None:
        """Unmount it and see that the device is gone."""
        mounts.unmount(staging)
        self.detach(home, shape)

    def owns(self, home: Path, shape: Shape, *, path: Path) -> bool:
        """Its filesystem lies on a loop device of ours over this image."""
        there = mounts.at(path)
        ours = loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id)) if there else []
        return there is not None and os.makedev(*there.device) in {loop.path.stat().st_rdev for loop in ours}

    def usage(self, home: Path, shape: Shape, *, path: Path) -> Usage:
        """What its own filesystem says."""
        del home, shape
        space = files.filesystem_space(path)
        return Usage(
            space.total,
            space.total - space.free,
            space.available,
            space.inodes,
            space.inodes - space.free_inodes,
            space.free_inodes,
        )

    def detach(self, home: Path, shape: Shape) -> None:
        """Wait for the device to clear itself; one that something else still holds is refused."""
        image, tag = home / "image", loopdev.tag_of(shape.volume_id)
        deadline = time.monotonic() + DETACH_SECONDS
        while found := loopdev.find(image, tag=tag):
            devices = {loop.path.stat().st_rdev for loop in found}
            used = next((each for each in mounts.table() if os.makedev(*each.device) in devices), None)
            if used is not None:
                raise MountFailed(f"volume {shape.volume_id} is still mounted at {used.target}; unmount it first")
            if time.monotonic() > deadline:
                raise MountFailed(f"volume {shape.volume_id}: {found[0].path} stays attached; something has it open")
            for loop in found:
                loopdev.detach(loop)
            time.sleep(DETACH_STEP)


def _may_mount_devices() -> bool:
    """Whether this is the machine's own user namespace: its uid map covers all ids."""
    fields = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return fields[:3] == ["0", "0", "4294967295"]
