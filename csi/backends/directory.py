"""
Volumes as plain directories of the pool's filesystem.

On btrfs with simple quotas each is a subvolume, and the kernel refuses writes past its size; elsewhere the size is only
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
    """
    Backend that stores a volume's files in ``<volume directory>/data``; staging and publishing are bind mounts.

    It works without root in a user namespace.
    """

    name = "directory"
    access_types: tuple[str, ...] = ("mount",)
    node_expansion_required = False
    data_name = "data"
    has_devices = False

    def problem(self) -> str:
        """Return "": the backend works on every machine."""
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """Return nothing: the pool's filesystem is used."""
        return ()

    def size_granularity(self, access_type: str) -> int:
        """Return 1: any size is possible."""
        del access_type
        return 1

    def minimum_bytes(self, fs_type: str) -> int:
        """Return the size of one block."""
        del fs_type
        return 4096

    def enforces_size(self, pool: Path) -> bool:
        """Report whether the filesystem is btrfs with simple quotas, and enable these where possible."""
        return quotas.enable(pool)

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Create ``data``, private to root; the pod or kubelet changes owner and mode after the mount."""
        if shape.enforced:
            with files.reporting_no_space(volume_dir):
                subvolumes.create(volume_dir / "data", limit=shape.size_bytes)
                files.sync_directory(volume_dir)
        else:
            files.create_directory(volume_dir / "data")

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """Set the quota's limit; an accounted volume has only its reserved bytes in the ledger."""
        if shape.enforced:
            subvolumes.set_limit(self._data(volume_dir, shape), limit=shape.size_bytes)

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """Do nothing: `expand` already set the size."""
        del volume_dir, shape, path

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Bind-mount ``data`` at the staging path."""
        data = self._data(volume_dir, shape)
        if mounts.is_mount(staging):
            if self.is_staged(volume_dir, shape, staging=staging):
                return
            raise AlreadyMountedError(
                f"volume {shape.volume_id}: another filesystem is already mounted at {staging}; unmount it first"
            )
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
        """Bind-mount the staging directory at the target."""
        del volume_dir, shape
        bindings.publish(staging=staging, target=target, read_only=read_only, mount_flags=mount_flags)

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Report whether this volume's directory is mounted at `staging`."""
        return self.is_published(volume_dir, shape, target=staging)

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Report whether this volume's directory is mounted at `target`."""
        return mount_facts.is_mounted(target, Identity(shape.volume_id, volume_dir.name, volume_dir))

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """
        Return the usage of the directory; the total is the volume's size.

        Without a quota the used bytes are None: only a walk over the tree could measure them, and the caller adds
        them. The available bytes are also limited by the pool's free space.
        """
        del path
        space = files.filesystem_space(volume_dir)
        used = subvolumes.quota(self._data(volume_dir, shape)).used if shape.enforced else None
        available = max(0, min(shape.size_bytes - (used or 0), space.available))
        if not space.inodes:  # btrfs has no fixed number of inodes
            return Usage(shape.size_bytes, used, available, None, None, None)
        return Usage(
            shape.size_bytes, used, available, space.inodes, space.inodes - space.free_inodes, space.free_inodes
        )

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """Return the issues: the directory is missing, or its filesystem refuses writes."""
        del shape
        if not (volume_dir / "data").is_dir():
            message = f"{volume_dir / 'data'} is missing, with the volume's files; restore it from a backup"
            return [HealthIssue("DATA_LOSS", "DirectoryMissing", message)]
        return bindings.filesystem_issues(path)

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Do nothing: an unmounted directory is not in use."""
        del volume_dir, shape

    def _data(self, volume_dir: Path, shape: Shape) -> Path:
        data = volume_dir / "data"
        if not data.is_dir():
            raise HostError(f"volume {shape.volume_id}: its directory {data} is missing; is the pool's disk mounted?")
        if shape.enforced and not subvolumes.is_subvolume(data):
            raise HostError(
                f"volume {shape.volume_id}: {data} is not a subvolume any more, so its size is not enforced"
            )
        return data
