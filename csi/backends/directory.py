"""
Volumes as plain directories: fast, and shared with the pool's filesystem.

On btrfs with simple quotas each is a subvolume, and the kernel refuses writes past its size; elsewhere it is only
accounted.
"""

from collections.abc import Sequence
from pathlib import Path

from csi.backends import bindings, mount_facts
from csi.backends.mount_facts import Identity
from csi.backends.protocol import HealthIssue, Shape, Usage
from csi.host import files, mounts, quotas, subvolumes
from csi.host.errors import AlreadyMountedError, HostError


class Directory:
    """The bytes are ``<home>/data``; staging and publishing are bind mounts. Works without root in a user namespace."""

    name = "directory"
    access_types: tuple[str, ...] = ("mount",)
    node_expansion_required = False

    def problem(self) -> str:
        """It works everywhere."""
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """The pool's own filesystem is used."""
        return ()

    def size_granularity(self, access_type: str) -> int:
        """Any size."""
        del access_type
        return 1

    def minimum_bytes(self, fs_type: str) -> int:
        """One block."""
        del fs_type
        return 4096

    def enforces_size(self, pool: Path) -> bool:
        """Where the filesystem is btrfs and has simple quotas, which are switched on for it."""
        return quotas.enable(pool)

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Make ``data``, private to root; whoever mounts it gives it away from inside."""
        if shape.enforced:
            with files.reporting_no_space(volume_dir):
                subvolumes.create(volume_dir / "data", limit=shape.size_bytes)
                files.sync_directory(volume_dir)
        else:
            files.create_directory(volume_dir / "data")

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """The limit of the quota; for an accounted one the promise is all there is."""
        if shape.enforced:
            subvolumes.set_limit(self._data(volume_dir, shape), limit=shape.size_bytes)

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """It has its size already."""
        del volume_dir, shape, path

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Bind ``data`` to the staging path."""
        data = self._data(volume_dir, shape)
        if mounts.is_mount(staging):
            if self.is_staged(volume_dir, shape, staging=staging):
                return
            raise AlreadyMountedError(f"volume {shape.volume_id}: something else is mounted at {staging}")
        mounts.bind(data, staging, options=mount_flags)

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
        """A bind mount shows the very same directory."""
        return self.is_published(volume_dir, shape, target=staging)

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """As above."""
        return mount_facts.is_mounted(target, Identity(shape.volume_id, volume_dir.name, volume_dir))

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """
        What the directory occupies, against the size it was promised.

        Where nothing enforces it the engine knows what is used: only a walk could tell. The room available is also
        bounded by the pool's.
        """
        del path
        space = files.filesystem_space(volume_dir)
        used = subvolumes.quota(self._data(volume_dir, shape)).used if shape.enforced else None
        available = max(0, min(shape.size_bytes - (used or 0), space.available))
        if not space.inodes:  # btrfs makes them as it goes
            return Usage(shape.size_bytes, used, available, None, None, None)
        return Usage(
            shape.size_bytes, used, available, space.inodes, space.inodes - space.free_inodes, space.free_inodes
        )

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """Gone, or unwritable."""
        del shape
        if not (volume_dir / "data").is_dir():
            message = f"{volume_dir / 'data'} is gone, and what was in it; restore it from a backup"
            return [HealthIssue("DATA_LOSS", "DirectoryMissing", message)]
        return bindings.filesystem_issues(path)

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Nothing holds a directory once it is unmounted."""
        del volume_dir, shape

    def _data(self, volume_dir: Path, shape: Shape) -> Path:
        data = volume_dir / "data"
        if not data.is_dir():
            raise HostError(f"volume {shape.volume_id}: its directory {data} is missing; is the pool's disk mounted?")
        if shape.enforced and not subvolumes.is_subvolume(data):
            raise HostError(f"volume {shape.volume_id}: {data} is no subvolume any more, so nothing limits it")
        return data
