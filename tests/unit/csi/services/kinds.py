"""Every kind of volume that the driver creates, each on a separate disk with the filesystem under test."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi.v1 import csi_pb2
from tests.unit.csi.services.driver import Driver, capability, raw, running

MIB = 1 << 20
DISK_BYTES = 4 << 30


@dataclass(frozen=True)
class Kind:
    """The disk's filesystem, the class's parameters, a possible size, and the capability."""

    name: str
    disk: str
    size: int
    parameters: dict[str, str] = field(default_factory=dict)
    use: csi_pb2.VolumeCapability = field(default_factory=capability)

    def create(self, driver: Driver, name: str = "v", *, size: int = 0, **more: str) -> str:
        """Create a volume of this kind; return its handle."""
        return driver.create(name, size=size or self.size, use=self.use, more=self.parameters | more).volume_id


def loop(fs_type: str, size: int) -> Kind:
    """A loop volume with this filesystem."""
    return Kind(f"loop/{fs_type}", "ext4", size, {"backend": "loop", "csi.storage.k8s.io/fstype": fs_type})


EXT4, XFS, BTRFS = loop("ext4", 32 * MIB), loop("xfs", 300 * MIB), loop("btrfs", 128 * MIB)
RAW = Kind("loop/block", "ext4", 8 * MIB, {"backend": "loop"}, raw())
DIRECTORY = Kind("directory/ext4", "ext4", 8 * MIB)
SUBVOLUME = Kind("directory/btrfs", "btrfs", 16 * MIB)

_NEEDS: dict[str, tuple[str, ...]] = {
    "loop/xfs": ("xfs",),
    "loop/btrfs": ("btrfs",),
    "directory/btrfs": ("btrfs", "simple_quotas"),
}


def each(*kinds: Kind, needs: dict[str, str] | None = None) -> pytest.MarkDecorator:
    """Parametrize a test by kinds, each with its `needs` marks; `needs` adds one, by the kind's name."""
    return pytest.mark.parametrize(
        "kind", [pytest.param(kind, marks=_needs(kind, needs or {}), id=kind.name) for kind in kinds]
    )


def _needs(kind: Kind, more: dict[str, str]) -> pytest.MarkDecorator:
    own = _NEEDS.get(kind.name, ())
    return pytest.mark.needs("root", "loop", *own, *([more[kind.name]] if kind.name in more else []))


@contextlib.contextmanager
def disk(path: Path, filesystem: str, size: int = DISK_BYTES) -> Iterator[Path]:
    """A separate disk mounted at `path`."""
    image = path.with_name(f"{path.name}.disk")
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{filesystem}", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=False, capture_output=True)


@contextlib.contextmanager
def serving(home: Path, kind: Kind, *flags: str, size: int = DISK_BYTES) -> Iterator[Driver]:
    """A driver on a disk with the kind's filesystem."""
    with disk(home / "pool", kind.disk, size), running(home, *flags) as driver:
        yield driver
