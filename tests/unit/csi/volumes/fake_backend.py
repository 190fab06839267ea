"""A volume manager on a new pool, with a fake backend that a test can block or let fail."""

import threading
from collections.abc import Sequence
from pathlib import Path

from csi.backends.protocol import Backend, HealthIssue, Shape, Usage
from csi.host.errors import NoSpaceError
from csi.volumes.pools import make_pool
from csi.volumes.requests import Capability, Creation, Parameters
from csi.volumes.volume_manager import VolumeManager


class FakeBackend:
    """A backend that writes one file per volume; a test can block it or let it fail."""

    name = "directory"
    access_types: tuple[str, ...] = ("mount",)
    node_expansion_required = False
    data_name = "data"
    has_devices = False

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.allowed.set()
        self.started = threading.Event()
        self.no_space = 0
        self.issues: list[HealthIssue] = []
        self.fails: Exception | None = None

    def problem(self) -> str:
        """No problem."""
        return ""

    def fs_types(self) -> tuple[str, ...]:
        """No filesystem of its own."""
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
        """Sizes are not enforced."""
        del pool
        return False

    def create(self, volume_dir: Path, shape: Shape) -> None:
        """Wait until the test allows it."""
        self.started.set()
        assert self.allowed.wait(20)
        if self.no_space:
            self.no_space -= 1
            raise NoSpaceError("the disk is full")
        if self.fails is not None:
            raise self.fails
        (volume_dir / "data").write_bytes(b"x" * min(shape.size_bytes, 65536))

    def expand(self, volume_dir: Path, shape: Shape) -> None:
        """Wait until the test allows it."""
        del volume_dir, shape
        self.started.set()
        assert self.allowed.wait(20)
        if self.no_space:
            self.no_space -= 1
            raise NoSpaceError("the disk is full")

    def expand_mounted(self, volume_dir: Path, shape: Shape, *, path: Path) -> None:
        """Do nothing."""

    def stage(self, volume_dir: Path, shape: Shape, *, staging: Path, mount_flags: Sequence[str]) -> None:
        """Do nothing: nothing is mounted."""

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
        """Do nothing: nothing is mounted."""

    def is_staged(self, volume_dir: Path, shape: Shape, *, staging: Path) -> bool:
        """Nothing is mounted."""
        del volume_dir, shape, staging
        return False

    def is_published(self, volume_dir: Path, shape: Shape, *, target: Path) -> bool:
        """Nothing is mounted."""
        del volume_dir, shape, target
        return False

    def health_issues(self, volume_dir: Path, shape: Shape, *, path: Path | None) -> list[HealthIssue]:
        """Return what the test set."""
        del volume_dir, shape, path
        return list(self.issues)

    def usage(self, volume_dir: Path, shape: Shape, *, path: Path) -> Usage:
        """Leave the used bytes to the volume manager."""
        del volume_dir, path
        return Usage(shape.size_bytes, None, shape.size_bytes, None, None, None)

    def detach(self, volume_dir: Path, shape: Shape) -> None:
        """Do nothing: it has no devices."""


def manager_of(path: Path, *, capacity: int | None = None, workers: int = 2) -> tuple[VolumeManager, FakeBackend]:
    """Return a volume manager with a pool at `path`, which is created if needed; call it in a running event loop."""
    from csi.volumes.pools import open_pools  # noqa: PLC0415 # only for a pool that is there

    path.parent.mkdir(parents=True, exist_ok=True)
    backend = FakeBackend()
    backends: dict[str, Backend] = {"directory": backend}
    known = path.with_name("known.json")
    pools = (
        open_pools([path], known_file=known, init_empty=False).pools
        if (path / "pool.json").exists()
        else [make_pool(path, name="p", capacity_bytes=capacity, known={})]
    )
    manager = VolumeManager(backends=backends, node_id="n", workers=workers, purge_seconds=60)
    manager.load(pools)
    return manager, backend


def creation(name: str, size: int = 1 << 20, **parameters: str) -> Creation:
    """Return a CreateVolume request."""
    return Creation(name, size, 0, (Capability("mount", "SINGLE_NODE_WRITER"),), Parameters.parse(parameters))
