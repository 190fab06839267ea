"""
Protocol of the storage backends.

All methods block, may be repeated at any time, and finish what a crash interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shape:
    """
    Properties of a volume, as recorded in its manifest.

    `fs_type` is "" for a directory and for a raw volume, `access_type` "mount" or "block". `enforced` is whether writes
    past the size are refused; `options` are passed to the mkfs program.
    """

    volume_id: str
    size_bytes: int
    access_type: str
    fs_type: str
    fs_uuid: str
    provisioning: str
    enforced: bool
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Capacity and inode usage of a volume.

    Without a filesystem only the total is known; inodes are None where the filesystem has no fixed number of them.
    """

    total_bytes: int
    used_bytes: int | None
    available_bytes: int | None
    total_inodes: int | None
    used_inodes: int | None
    free_inodes: int | None

    def filled(self, stored: int) -> "Usage":
        """Return a copy with `stored` used bytes, as measured by a walk; they may be more than the total."""
        available = max(0, min(self.total_bytes - stored, self.available_bytes or 0))
        return replace(self, used_bytes=stored, available_bytes=available)


@dataclass(frozen=True, slots=True)
class HealthIssue:
    """Problem of a volume or a pool: CSI's status, a reason in CamelCase for programs, and a message for people."""

    status: str
    reason: str
    message: str


class Backend(Protocol):
    """
    One way to store volumes.

    `volume_dir` is the volume's directory in its pool and exists. Methods raise HostError or one of its subclasses.
    Unpublishing and unstaging are the same for all backends and need none: see `teardown`.
    """

    name: str
    access_types: tuple[str, ...]
    node_expansion_required: bool
    """Whether an expansion needs NodeExpandVolume, too, where the volume is mounted."""
    data_name: str
    """The name of a volume's data in its directory."""
    has_devices: bool
    """Whether loop devices may be attached to a volume's data."""

    def problem(self) -> str:
        """Return in one sentence why the backend cannot work on this machine; "" when it can."""

    def fs_types(self) -> tuple[str, ...]:
        """Return the supported filesystems, the default first; none where the pool's filesystem is used."""

    def size_granularity(self, access_type: str) -> int:
        """Return the number of bytes that a volume's size has to be a multiple of."""

    def minimum_bytes(self, fs_type: str) -> int:
        """Return the least size of a volume in bytes."""

    def enforces_size(self, pool: Path) -> bool:
        """Report whether the sizes of volumes that are created in this pool now are enforced."""

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Create the volume's directory or image."""

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """Expand the volume to `shape.size_bytes`, never less than now; `expand_mounted` does the mounted part."""

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Stage the volume at `staging`, which exists; it has its full size afterwards."""

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """Expand the volume, which is staged or published at `path`, to its size while it is in use."""

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
        """Publish the staged volume at `target`, which is created; its parent directory exists."""

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Report whether this volume is staged at `staging`, by this driver or an earlier one."""

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Report whether this volume is mounted at `target`, by this driver or an earlier one."""

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """
        Return the usage of the volume, which is staged or published at `path`.

        Walks over no tree: a mounted volume that only a walk could measure has None as used bytes; the volume manager
        adds them.
        """

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """Return the issues of the volume and of its mount at `path`; changes nothing and starts no program."""

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Release everything in `volume_dir` before it is moved to the trash."""
