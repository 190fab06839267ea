"""Volumes as plain directories: fast, shared with the pool's filesystem, their size only accounted."""

import os
from collections.abc import Sequence
from pathlib import Path

from csi.backends.bindings import Binds
from csi.backends.protocol import Shape, Usage
from csi.host import files, mounts
from csi.host.errors import HostError, MountFailed


class Directory(Binds):
    """The bytes are ``<home>/data``; staging and publishing are bind mounts. Works without root in a user namespace."""

    name = "directory"
    enforces_size = False

    def problem(self) -> str:
        """It works everywhere."""
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """The pool's own filesystem is used."""
        return ()

    def minimum_bytes(self, fs_type: str) -> int:
        """One block."""
        del fs_type
        return 4096

    def create(self, home: Path, shape: Shape) -> None:
        """Make ``data``, private to root; whoever mounts it gives it away from inside."""
        if shape.access_type != "mount":
            raise HostError(f"volume {shape.volume_id}: a directory cannot be a raw block device; use backend loop")
        files.make_directory(home / "data")

    def stage(self, home: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Bind ``data`` to the staging path."""
        data = home / "data"
        if mounts.at(staging) is not None:
            if self.owns(home, shape, path=staging):
                return
            raise MountFailed(f"volume {shape.volume_id}: something else is mounted at {staging}")
        mounts.bind(data, staging, options=mount_flags)

    def unstage(self, home: Path, shape: Shape, *, staging: Path) -> None:
        """Unbind it."""
        del home, shape
        mounts.unmount(staging)

    def owns(self, home: Path, shape: Shape, *, path: Path) -> bool:
        """A bind mount shows the very same directory."""
        del shape
        try:
            return mounts.at(path) is not None and os.path.samestat(path.stat(), (home / "data").stat())
        except FileNotFoundError:
            return False

    def usage(self, home: Path, shape: Shape, *, path: Path) -> Usage:
        """
        What the directory occupies, against the size it was promised.

        More may be used than was promised, for nobody enforces it; the room available is also bounded by the pool's.
        """
        del path
        space = files.filesystem_space(home)
        used = files.disk_bytes(home / "data")
        available = max(0, min(shape.size_bytes - used, space.available))
        return Usage(
            shape.size_bytes, used, available, space.inodes, space.inodes - space.free_inodes, space.free_inodes
        )

    def detach(self, home: Path, shape: Shape) -> None:
        """Nothing holds a directory once it is unmounted."""
        del home, shape
