"""
Which volume a mount belongs to, decided from the kernel's mount table and the status of loop devices.

Only this module decides it. It reads no file of the volume, of its pool or of the mounted filesystem, so the result is
the same on a disk that is full, failing or removed, and after the volume's directory was removed.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host import loopdev, mounts
from csi.host.loopdev import Loop
from csi.host.mounts import Mount

DELETED: Final = "//deleted"
"""Suffix in the mount table of the root of a mount whose directory was removed."""

DEVICE_FILESYSTEMS: Final = frozenset({"devtmpfs", "tmpfs"})
_DATA: Final = re.compile(r".*/volumes/([a-z0-9-]{1,63})/data", re.ASCII | re.DOTALL)
_DEVICE: Final = re.compile(r"(?:/[^/]+)*/loop([0-9]{1,7})(?://deleted)?", re.ASCII)
_SOURCE: Final = re.compile(r"/dev/loop([0-9]{1,7})", re.ASCII)


class Match(enum.IntEnum):
    """How certain it is that a mount belongs to a volume."""

    NONE = 0
    LIKELY = 1
    """It names the volume, but not on the disk that now has the pool: the disk or the directory was removed."""
    EXACT = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a volume in the table: its handle, its id, and its directory where the pool's path is known."""

    handle: str
    volume_id: str
    volume_dir: Path | None

    @property
    def image(self) -> Path | None:
        """Path of the volume's image, if it has one and the pool's path is known."""
        return self.volume_dir / "image" if self.volume_dir is not None else None

    @property
    def tag(self) -> str:
        """Tag of the volume's loop devices; it names the pool, too."""
        return loopdev.tag_of(self.handle)


def match(mount: Mount, volume: Identity) -> Match:
    """Return how certain it is that the mount belongs to the volume."""
    loop = _loop_below(mount)
    if loop is not None and loop.tag == volume.tag:
        return Match.EXACT
    if loop is not None and loop.may_be_over(volume.volume_id, volume.image):
        return Match.LIKELY
    return match_directory(
        mount, volume, mounts.location_of(volume.volume_dir) if volume.volume_dir is not None else None
    )


def match_directory(mount: Mount, volume: Identity, location: mounts.Location | None) -> Match:
    """Match a mount of a volume's ``data``; `location` is that of the volume's directory now, if it is known."""
    root = mount.root.removesuffix(DELETED)
    if location is not None and mount.device == location.device and mount.root == f"{location.root}/data":
        return Match.EXACT
    return Match.LIKELY if root.endswith(f"/volumes/{volume.volume_id}/data") else Match.NONE


def loop_number(mount: Mount) -> int | None:
    """
    Return the number of the loop device that is mounted, or is bound as a device; None where neither is.

    A btrfs has other device numbers, so there the source is read. A tmpfs has device nodes only where it is /dev: a pod
    may have a directory of the same name in another tmpfs.
    """
    if mount.fs_type in DEVICE_FILESYSTEMS and (bound := _DEVICE.fullmatch(mount.root)):
        return int(bound[1]) if mount.fs_type == "devtmpfs" or _is_dev(mount) else None
    if mount.device[0] == loopdev.MAJOR:
        return mount.device[1]
    source = _SOURCE.fullmatch(mount.source)
    return int(source[1]) if source and mount.fs_type not in DEVICE_FILESYSTEMS else None


def _is_dev(mount: Mount) -> bool:
    location = mounts.location_of(Path("/dev"))
    return location is not None and location.device == mount.device


def _loop_below(mount: Mount) -> Loop | None:
    number = loop_number(mount)
    return loopdev.loop_at(Path(f"/dev/loop{number}")) if number is not None else None


def is_mounted(target: Path, volume: Identity) -> bool:
    """Report whether the volume, as it is in its pool now, is mounted at the path."""
    mounted = mounts.at(target) if mounts.is_mount(target) else None
    return mounted is not None and match(mounted, volume) is Match.EXACT


def device_at(target: Path) -> Loop | None:
    """Return the loop device that is mounted or bound at the path, or None."""
    mounted = mounts.at(target) if mounts.is_mount(target) else None
    return _loop_below(mounted) if mounted is not None else None


def found_at(targets: Iterable[str], volume: Identity) -> str:
    """Return the first of the paths at which the volume is likely to be mounted; "" when there is none."""
    for target in targets:
        mounted = mounts.at(Path(target)) if mounts.is_mount(Path(target)) else None
        if mounted is not None and match(mounted, volume):
            return target
    return ""


def used_at(volume: Identity, *, devices: bool) -> str:
    """
    Return a path at which the volume or a part of it is mounted, from the whole table; "" when there is none.

    `devices` is whether loop devices may be over it.
    """
    location = mounts.location_of(volume.volume_dir) if volume.volume_dir is not None else None
    loops = loopdev.of_volume(volume.volume_id, tag=volume.tag, image=volume.image) if devices else []
    names = {loop.path.name for loop in loops}
    for mount in mounts.table():
        root = f"{mount.root.removesuffix(DELETED)}/"
        if location is not None and mount.device == location.device and root.startswith(f"{location.root}/data/"):
            return str(mount.target)
        if f"loop{loop_number(mount)}" in names:
            return str(mount.target)
    return ""


def volume_containing(path: Path, volumes: Iterable[Identity]) -> str:
    """
    Return the handle of the mounted volume that contains the path; "" when there is none.

    `path` is absolute and without links.
    """
    mounted = mounts.covering(path)
    if mounted is None:
        return ""
    if (loop := _loop_below(mounted)) is not None:
        return next((each.handle for each in volumes if each.tag == loop.tag), "")
    named = _DATA.fullmatch(mounted.root)
    same = [each for each in volumes if named and each.volume_id == named[1]]
    return next((each.handle for each in same if match(mounted, each)), "")
