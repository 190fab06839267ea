"""Showing an image through a loop device: as a mounted filesystem, or as the raw device."""

from collections.abc import Sequence
from pathlib import Path

from csi.backends import bindings, images, mount_facts
from csi.backends.protocol import Shape, Usage
from csi.host import files, filesystem_uuids, filesystems, loopdev, mounts, superblocks
from csi.host.errors import AlreadyMountedError, DuplicateUuidError, MountError
from csi.host.locks import Locked
from csi.host.loopdev import Loop


class MountedImage:
    """The filesystem is mounted; the device goes with the mount, so neither a crash nor a lazy unmount leaks one."""

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Check it where it needs that, attach, mount, and grow it where its image has grown since."""
        if mounts.is_mount(staging):
            if self.is_staged(volume_dir, shape, staging=staging):
                if not images.passes_discards(shape):  # a former version let it
                    loopdev.stop_discards(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))
                return
            raise AlreadyMountedError(f"volume {shape.volume_id}: something else is mounted at {staging}")
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
        """While it is in use."""
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
        """Bind what is staged to the target."""
        del volume_dir, shape
        bindings.publish(staging=staging, target=target, read_only=read_only, mount_flags=mount_flags)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """The filesystem there comes from a device of ours over this image."""
        loop = mount_facts.device_at(staging)
        return loop is not None and loopdev.is_over(loop, volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """A bind mount keeps its source."""
        return self.is_staged(volume_dir, shape, staging=target)

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


def _explain(error: MountError, image: Path, shape: Shape, loop: Loop) -> None:
    """Raise SameUuid where a mounted filesystem with the same UUID may be why the kernel refused the image."""
    if shape.fs_type == "ext4":
        return  # the kernel does not compare them
    uuid = superblocks.uuid(image, fs_type=shape.fs_type)
    others = [name for name in filesystem_uuids.mounted_from(shape.fs_type, uuid) if name != loop.path.name]
    if not others:
        return
    device, backing = f"/dev/{others[0]}", loopdev.backing_file(others[0])
    raise DuplicateUuidError(
        f"volume {shape.volume_id}: its {shape.fs_type} has the same UUID {uuid} as the one that is mounted from "
        f"{backing or device}, and the kernel mounts one of them at a time; unmount that one, or give "
        f"{image} a UUID of its own: {filesystem_uuids.by_hand(image, fs_type=shape.fs_type)}",
        device=device,
        backing=backing,
    ) from error


class RawImage:
    """
    The device itself is shown, bound to a file.

    Nothing mounts the device, so it stays attached until it is unstaged. A read-only publication gets a read-only
    device of its own, because the kernel does not look at a mount's options when a device is opened for writing.
    """

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Attach it; the staging path stays as it is."""
        del staging, mount_flags
        with images.opened(volume_dir, shape, at_least=shape.size_bytes) as image:
            images.restore_reservation(image.path, shape)
            loopdev.refresh(self._attach(image.path, shape, read_only=False))

    def expand_mounted(self, image: Locked, shape: Shape, loop: Loop, *, path: Path) -> None:
        """The device has grown, and there is nothing on it that we know."""

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
        """Bind the device, or a read-only one over the same image, to a file."""
        del staging, mount_flags
        loop = self._attach(volume_dir / "image", shape, read_only=read_only)
        if mounts.is_mount(target):
            if mount_facts.device_at(target) == loop:
                return
            raise AlreadyMountedError(f"something else is mounted at {target} already")
        bindings.create_target(target, file=True)
        mounts.bind(loop.path, target)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """A writable device of ours is over this image; where it is staged only the record knows."""
        del staging
        found = loopdev.find(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))
        return any(not loop.read_only for loop in found)

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """A device of ours over this image is bound there."""
        loop = mount_facts.device_at(target)
        return loop is not None and loopdev.is_over(loop, volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))

    def usage(self, shape: Shape, *, path: Path) -> Usage:
        """Only its size is known."""
        del path
        return Usage(shape.size_bytes, None, None, None, None, None)

    def _attach(self, image: Path, shape: Shape, *, read_only: bool) -> Loop:
        tag, discards = loopdev.tag_of(shape.volume_id), images.passes_discards(shape)
        return loopdev.attach(image, tag=tag, read_only=read_only, discards=discards)
