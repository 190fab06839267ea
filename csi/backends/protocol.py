"""What every backend can do. All methods block, may be repeated at any time, and finish what a crash interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shape:
    """What a volume is, as its manifest says. `fs_type` is "" for a directory, `access_type` "mount" or "block"."""

    volume_id: str
    size_bytes: int
    access_type: str
    fs_type: str
    fs_uuid: str
    provisioning: str


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a volume is; the inodes are None where they mean nothing."""

    total_bytes: int
    used_bytes: int
    available_bytes: int
    total_inodes: int | None
    used_inodes: int | None
    free_inodes: int | None


class Backend(Protocol):
    """
    One way of keeping volumes.

    `home` is the volume's directory in its pool and exists. Methods raise HostError or one of its kinds.
    """

    name: str
    enforces_size: bool

    def problem(self) -> str:
        """Why it cannot work on this machine, in one sentence; "" when it can."""

    def fs_types(self) -> tuple[str, ...]:
        """The filesystems it offers, the default first; none where the pool's own is used."""

    def minimum_bytes(self, fs_type: str) -> int:
        """The least size of a volume."""

    def create(self, home: Path, shape: Shape) -> None:
        """Make the bytes."""

    def stage(self, home: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Mount the volume at `staging`, which exists."""

    def unstage(self, home: Path, shape: Shape, *, staging: Path) -> None:
        """Unmount it; not mounted is fine."""

    def publish(
        self,
        home: Path,
        shape: Shape,
        *,
        staging: Path,
        target: Path,
        read_only: bool,
        mount_flags: Sequence[str],
    ) -> None:
        """Show the staged volume at `target`, which is made; its parent exists."""

    def unpublish(self, *, target: Path) -> None:
        """Take it away from there, and the mount point; never what lies below a mount point."""

    def owns(self, home: Path, shape: Shape, *, path: Path) -> bool:
        """Whether what is mounted at `path` is this volume, whoever mounted it."""

    def usage(self, home: Path, shape: Shape, *, path: Path) -> Usage:
        """How full it is, looked at through `path`, where it is mounted."""

    def detach(self, home: Path, shape: Shape) -> None:
        """Hold nothing of `home` any more, before it is moved to the trash."""
