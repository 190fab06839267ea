"""Volumes as images on loop devices, mounted or raw: the kernel enforces the size to the byte."""

import os
from collections.abc import Sequence
from pathlib import Path

from csi.backends import bindings, images, teardown
from csi.backends.devices import MountedImage, RawImage
from csi.backends.mount_facts import Identity
from csi.backends.protocol import HealthIssue, Shape, Usage
from csi.host import filesystems, loopdev

SECTOR = 512
"""Bytes of a sector: a loop device ignores the part of its image beyond the last whole sector."""


class Loop:
    """
    Backend that stores a volume in ``<volume directory>/image``.

    The access type decides how the image is staged and published, not how it is stored.
    """

    name = "loop"
    access_types: tuple[str, ...] = ("mount", "block")
    node_expansion_required = True
    data_name = "image"
    has_devices = True

    def __init__(self) -> None:
        self._by_access_type: dict[str, MountedImage | RawImage] = {"mount": MountedImage(), "block": RawImage()}

    def problem(self) -> str:
        """Return why loop devices are unavailable: they need root on the machine, not only in a user namespace."""
        if os.geteuid() != 0 or not _may_mount_devices():
            return "backend loop needs root: an ordinary user may not attach loop devices; use backend directory"
        if not Path("/dev/loop-control").exists():
            return "backend loop needs /dev/loop-control, which does not exist; load the kernel module loop"
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """Return the filesystems, the default first."""
        return tuple(filesystems.KINDS)

    def size_granularity(self, access_type: str) -> int:
        """Return one sector for a raw volume, whose device has exactly its size; a filesystem rounds in any case."""
        return SECTOR if access_type == "block" else 1

    def minimum_bytes(self, fs_type: str) -> int:
        """Return the least size that the filesystem's tools accept with a journal; one block for a raw volume."""
        return filesystems.KINDS[fs_type].minimum if fs_type else 4096

    def enforces_size(self, pool: Path) -> bool:
        """Return True: nothing can be written past the end of an image."""
        del pool
        return True

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Create and format the image."""
        images.create(volume_dir, shape)

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """Expand the image file."""
        with images.opened(volume_dir, shape, at_least=0) as image:
            images.expand(image.path, shape)

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """Update the size of the loop devices, then expand the filesystem on them."""
        with images.opened(volume_dir, shape, at_least=shape.size_bytes) as image:
            for loop in loopdev.find(image.path, tag=loopdev.tag_of(shape.volume_id)):
                loopdev.refresh(loop)
                self._by_access_type[shape.access_type].expand_mounted(image, shape, loop, path=path)

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Attach the image, with direct I/O where that works, and mount it unless it is raw."""
        self._by_access_type[shape.access_type].stage(volume_dir, shape, staging=staging, mount_flags=mount_flags)

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
        """Bind-mount the filesystem or the device at `target`."""
        image = self._by_access_type[shape.access_type]
        image.publish(volume_dir, shape, staging=staging, target=target, read_only=read_only, mount_flags=mount_flags)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Report whether this volume is staged at `staging`."""
        return self._by_access_type[shape.access_type].is_staged(volume_dir, shape, staging=staging)

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Report whether this volume is published at `target`."""
        return self._by_access_type[shape.access_type].is_published(volume_dir, shape, target=target)

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """Return the volume's usage."""
        del volume_dir
        return self._by_access_type[shape.access_type].usage(shape, path=path)

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """Return the issues of the image, of the devices over it, and of the mounted filesystem."""
        return [*images.health_issues(volume_dir, shape), *bindings.filesystem_issues(path)]

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Wait for the loop devices to be detached. Raises StillInUseError for one that is in use."""
        teardown.detach(Identity(shape.volume_id, volume_dir.name, volume_dir))


def _may_mount_devices() -> bool:
    """Report whether this is the machine's initial user namespace: its uid map covers all ids."""
    # unbounded: the kernel's own file, a line for each range of ids
    fields = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return fields[:3] == ["0", "0", "4294967295"]
