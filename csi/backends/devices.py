"""Staging and publishing of images through loop devices: as a mounted filesystem, or as a raw block device."""

from collections.abc import Sequence
from pathlib import Path

from csi.backends import bindings, images, mount_facts
from csi.backends.protocol import Shape, Usage
from csi.host import files, filesystem_uuids, filesystems, loopdev, mounts, superblocks
from csi.host.errors import AlreadyMountedError, DuplicateUuidError, MountError
from csi.host.locks import Locked
from csi.host.loopdev import Loop


class MountedImage:
    """
    Image of a volume with access type mount.

    Its loop device is detached with the last unmount, so neither a crash nor a lazy unmount leaks one.
    """

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Check the filesystem if it has errors, attach and mount it, and expand it if its image was expanded."""
        if mounts.is_mount(staging):
            if self.is_staged(volume_dir, shape, staging=staging):
                if not images.passes_discards(shape):  # an earlier version did not stop them
                    loopdev.stop_discards(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))
                return
            raise AlreadyMountedError(
                f"volume {shape.volume_id}: another filesystem is already mounted at {staging}; unmount it first"
            )
        with images.opened(volume_dir, shape, at_least=shape.size_bytes) as image:
            self._mount(image, shape, staging=staging, mount_flags=mount_flags)

    def _mount(self, image: Locked, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        if superblocks.has_errors(image.path, fs_type=shape.fs_type):
            filesystems.check(image)
        needs_expansion = not superblocks.extent(image.path, fs_type=shape.fs_type).fills(shape.size_bytes)
        if needs_expansion and filesystems.KINDS[shape.fs_type].expands_unmounted:
            filesystems.expand_unmounted(image)
            needs_expansion = False
        images.restore_reservation(image.path, shape)
        tag, discards = loopdev.tag_of(shape.volume_id), images.passes_discards(shape)
        with loopdev.attached(image.path, tag=tag, discards=discards) as loop:
            try:
                mounts.mount(str(loop.path), staging, fs_type=shape.fs_type, options=mount_flags)
            except MountError as error:
                _explain(error, image.path, shape, loop)
                raise
            if needs_expansion and "ro" not in mount_flags:
                self.expand_mounted(image, shape, loop, path=staging)

    def expand_mounted(self, image: Locked, shape: Shape, loop: Loop, *, path: Path) -> None:
        """Expand the filesystem while it is mounted at `path`."""
        filesystems.expand_mounted(image, fs_type=shape.fs_type, device=loop.path, target=path)

    def publish(
        self,
        volume_dir: Path,
        shape: Shape,
        *,
        staging: Path,
        target: Path,
        read_only: bool,
        mount_flags: Sequence[str],
    ) -> None:
        """Bind-mount the staging directory at the target."""
        del volume_dir, shape
        bindings.publish(staging=staging, target=target, read_only=read_only, mount_flags=mount_flags)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Report whether the filesystem mounted at `staging` is on our loop device over this image."""
        loop = mount_facts.device_at(staging)
        return loop is not None and loopdev.is_over(loop, volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Report whether the volume is mounted at `target`: a bind mount has the same source as the staging mount."""
        return self.is_staged(volume_dir, shape, staging=target)

    def usage(self, shape: Shape, *, path: Path) -> Usage:
        """Return the usage that the volume's filesystem reports."""
        del shape
        space = files.filesystem_space(path)
        used = space.total - space.free
        if not space.inodes:  # btrfs has no fixed number of inodes
            return Usage(space.total, used, space.available, None, None, None)
        return Usage(
            space.total, used, space.available, space.inodes, space.inodes - space.free_inodes, space.free_inodes
        )


def _explain(error: MountError, image: Path, shape: Shape, loop: Loop) -> None:
    """Raise DuplicateUuidError where the kernel may have refused the mount because the UUID is mounted already."""
    if shape.fs_type == "ext4":
        return  # the kernel does not compare them
    uuid = superblocks.uuid(image, fs_type=shape.fs_type)
    others = [name for name in filesystem_uuids.mounted_from(shape.fs_type, uuid) if name != loop.path.name]
    if not others:
        return
    device, backing = f"/dev/{others[0]}", loopdev.backing_file(others[0])
    raise DuplicateUuidError(
        f"volume {shape.volume_id}: its {shape.fs_type} has the same UUID {uuid} as the filesystem mounted from "
        f"{backing or device}, and the kernel mounts only one of them at a time; unmount the other one, or give "
        f"{image} a new UUID: {filesystem_uuids.by_hand(image, fs_type=shape.fs_type)}",
        device=device,
        backing=backing,
    ) from error


class RawImage:
    """
    Image of a raw block volume: its loop device is bind-mounted on a file.

    The device is not mounted, so it stays attached until the volume is unstaged. A read-only publication gets a
    separate read-only device, because the kernel ignores a mount's options when a device is opened for writing.
    """

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Attach the image; the staging path is not changed."""
        del staging, mount_flags
        with images.opened(volume_dir, shape, at_least=shape.size_bytes) as image:
            images.restore_reservation(image.path, shape)
            loopdev.refresh(self._attach(image.path, shape, read_only=False))

    def expand_mounted(self, image: Locked, shape: Shape, loop: Loop, *, path: Path) -> None:
        """Do nothing: the device has its new size, and its contents are not known to the driver."""

    def publish(
        self,
        volume_dir: Path,
        shape: Shape,
        *,
        staging: Path,
        target: Path,
        read_only: bool,
        mount_flags: Sequence[str],
    ) -> None:
        """Bind-mount the device, or a read-only one over the same image, on a file."""
        del staging, mount_flags
        loop = self._attach(volume_dir / "image", shape, read_only=read_only)
        if mounts.is_mount(target):
            if mount_facts.device_at(target) == loop:
                return
            raise AlreadyMountedError(f"another filesystem is already mounted at {target}; unmount it first")
        bindings.create_target(target, file=True)
        mounts.bind(loop.path, target)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Report whether our writable device over this image exists; its staging path is only in the node's record."""
        del staging
        found = loopdev.find(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))
        return any(not loop.read_only for loop in found)

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Report whether our device over this image is bind-mounted at `target`."""
        loop = mount_facts.device_at(target)
        return loop is not None and loopdev.is_over(loop, volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))

    def usage(self, shape: Shape, *, path: Path) -> Usage:
        """Return the volume's size, which is all that is known."""
        del path
        return Usage(shape.size_bytes, None, None, None, None, None)

    def _attach(self, image: Path, shape: Shape, *, read_only: bool) -> Loop:
        tag, discards = loopdev.tag_of(shape.volume_id), images.passes_discards(shape)
        return loopdev.attach(image, tag=tag, read_only=read_only, discards=discards)
