"""What every backend can do. All methods block, may be repeated at any time, and finish what a crash interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a volume is, as its manifest says.

    `fs_type` is "" for a directory and for a raw volume, `access_type` "mount" or "block". `enforced` tells whether
    something holds it to its size; `options` go to the program that makes its filesystem.
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
    """How full a volume is. Without a filesystem only the total is known; inodes are None where they mean nothing."""

    total_bytes: int
    used_bytes: int | None
    available_bytes: int | None
    total_inodes: int | None
    used_inodes: int | None
    free_inodes: int | None

    def filled(self, stored: int) -> "Usage":
        """Return it with so many bytes used, as a walk measured them; they may be more than the total."""
        available = max(0, min(self.total_bytes - stored, self.available_bytes or 0))
        return replace(self, used_bytes=stored, available_bytes=available)


@dataclass(frozen=True, slots=True)
class HealthIssue:
    """What is wrong with a volume or a pool: how bad (CSI's word), one CamelCase word for programs, and a sentence."""

    status: str
    reason: str
    message: str


class Backend(Protocol):
    """
    One way of keeping volumes.

    `home` is the volume's directory in its pool and exists. Methods raise HostError or one of its kinds. Taking
    away from a path is the same for all and needs no backend: see `teardown`.
    """

    name: str
    access_types: tuple[str, ...]
    node_expansion_required: bool
    """Whether a larger size has to be taken up where the volume is mounted, too."""

    def problem(self) -> str:
        """Why it cannot work on this machine, in one sentence; "" when it can."""

    def fs_types(self) -> tuple[str, ...]:
        """The filesystems it offers, the default first; none where the pool's own is used."""

    def size_granularity(self, access_type: str) -> int:
        """Its sizes are multiples of so many bytes."""

    def minimum_bytes(self, fs_type: str) -> int:
        """The least size of a volume."""

    def enforces_size(self, pool: Path) -> bool:
        """Whether volumes made in this pool now are held to their size."""

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Make the bytes."""

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """Give it `shape.size_bytes`, which is not less than it has; what is mounted takes them up by `grow`."""

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Make the volume ready at `staging`, which exists; it has its whole size afterwards."""

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """Let the volume that is staged or published at `path` take up its size while it is in use."""

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
        """Show the staged volume at `target`, which is made; its parent exists."""

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Whether this volume is ready at `staging`, whoever staged it."""

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Whether what is mounted at `target` is this volume, whoever mounted it."""

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """
        How full it is, looked at through `path`, where it is staged or published.

        Walks over no tree: a mounted volume that only a walk could measure has None as used; the engine fills it in.
        """

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """What is wrong with its bytes, and with what is mounted at `path`; changes nothing and starts no program."""

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Hold nothing of `home` any more, before it is moved to the trash."""
