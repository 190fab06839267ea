"""An engine on a fresh pool, with a backend that a test can hold up: a fake at our own seam."""

import threading
from collections.abc import Sequence
from pathlib import Path

from csi.backends.protocol import Backend, HealthIssue, Shape, Usage
from csi.host.errors import NoSpaceError
from csi.volumes.pools import make_pool
from csi.volumes.requests import Capability, Creation, Parameters
from csi.volumes.volume_manager import VolumeManager


class Paper:
    """Keeps a file of the volume's size; blocks, or has no space, when told so."""

    name = "directory"
    access_types: tuple[str, ...] = ("mount",)
    node_expansion_required = False

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.may_go.set()
        self.started = threading.Event()
        self.no_space = 0
        self.ill: list[HealthIssue] = []
        self.fails: Exception | None = None

    def problem(self) -> str:
        """It works."""
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def minimum_bytes(self, fs_type: str) -> int:
        """One block."""
        assert not fs_type
        return 4096

    def size_granularity(self, access_type: str) -> int:
        """Any size."""
        assert access_type == "mount"
        return 1

    def enforces_size(self, pool: Path) -> bool:
        """Nobody does."""
        del pool
        return False

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """When it may."""
        self.started.set()
        assert self.may_go.wait(20)
        if self.no_space:
            self.no_space -= 1
            raise NoSpaceError("the disk is full")
        if self.fails is not None:
            raise self.fails
        (volume_dir / "data").write_bytes(b"x" * min(shape.size_bytes, 65536))

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """When it may."""
        del volume_dir, shape
        self.started.set()
        assert self.may_go.wait(20)
        if self.no_space:
            self.no_space -= 1
            raise NoSpaceError("the disk is full")

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """It has its size."""

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Not mounted here."""

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
        """Not mounted here."""

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Nothing is mounted."""
        del volume_dir, shape, staging
        return False

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Nothing is mounted."""
        del volume_dir, shape, target
        return False

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """As it was told."""
        del volume_dir, shape, path
        return list(self.ill)

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """Only the engine knows what is used."""
        del volume_dir, path
        return Usage(shape.size_bytes, None, shape.size_bytes, None, None, None)

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Nothing holds it."""


def engine_of(path: Path, *, capacity: int | None = None, workers: int = 2) -> tuple[VolumeManager, Paper]:
    """On a pool at `path`, made when it is not there; call inside a running loop."""
    from csi.volumes.pools import open_pools  # noqa: PLC0415 # only for a pool that is there

    path.parent.mkdir(parents=True, exist_ok=True)
    paper = Paper()
    backends: dict[str, Backend] = {"directory": paper}
    known = path.with_name("known.json")
    pools = (
        open_pools([path], known_file=known, init_empty=False).pools
        if (path / "pool.json").exists()
        else [make_pool(path, name="p", capacity_bytes=capacity, known={})]
    )
    manager = VolumeManager(backends=backends, node_id="n", workers=workers, purge_seconds=60)
    manager.load(pools)
    return manager, paper


def creation(name: str, size: int = 1 << 20, **parameters: str) -> Creation:
    """A request."""
    return Creation(name, size, 0, (Capability("mount", "SINGLE_NODE_WRITER"),), Parameters.parse(parameters))
