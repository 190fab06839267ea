"""A thick image has blocks for all of its bytes after every use of the volume; its health reports missing blocks."""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from csi.backends import teardown
from csi.backends.loop import Loop
from csi.backends.mount_facts import Identity
from csi.backends.protocol import Shape
from csi.backends.teardown import Removal
from csi.host import block_queue, loopdev, mounts
from csi.host.errors import MountError, NotReservableError, StillInUseError

pytestmark = pytest.mark.needs("root", "loop")
MIB = 1 << 20
# A handle of its own: loop devices are found by it, also those of a test process beside this one.
HANDLE = f"pool.{uuid.uuid4()}"
LOOP = Loop()


def _shape(provisioning: str = "thick", *, access_type: str = "mount") -> Shape:
    fs_type, fs_uuid = ("ext4", str(uuid.uuid4())) if access_type == "mount" else ("", "")
    return Shape(HANDLE, 16 * MIB, access_type, fs_type, fs_uuid, provisioning, True)


@contextlib.contextmanager
def _disk(tmp_path: Path, *options: str, kind: str = "ext4", size: int = 128 * MIB) -> Iterator[Path]:
    """A volume's directory on a separate disk, with a staging path beside it; the volume is unstaged at the end."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", *options, str(image)], check=True, capture_output=True)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    for each in (disk / "volume", tmp_path / "staging"):
        each.mkdir()
    try:
        yield disk / "volume"
    finally:
        _unstage(disk / "volume")
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def volume_dir(tmp_path: Path) -> Iterator[Path]:
    """A volume's directory on ext4."""
    with _disk(tmp_path) as found:
        yield found


def _staging(volume_dir: Path) -> Path:
    return volume_dir.parent.parent / "staging"


def _stage(volume_dir: Path, shape: Shape) -> loopdev.Loop:
    LOOP.stage(volume_dir, shape, staging=_staging(volume_dir), mount_flags=[])
    (device,) = loopdev.find(volume_dir / "image", tag=loopdev.tag_of(HANDLE))
    return device


def _unstage(volume_dir: Path) -> None:
    teardown.unstage(
        Removal(Identity(HANDLE, volume_dir.name, volume_dir), _staging(volume_dir)), mounted=True, devices=True
    )


def _reserved(volume_dir: Path) -> int:
    return (volume_dir / "image").stat().st_blocks * 512


def _punch(path: Path, start: int = 4 * MIB, length: int = 8 * MIB) -> int:
    """Punch a hole; the exit code."""
    argv = ["fallocate", "--punch-hole", "--offset", str(start), "--length", str(length), str(path)]
    return subprocess.run(argv, check=False, capture_output=True).returncode


def _reasons(volume_dir: Path, shape: Shape) -> list[str]:
    return [each.reason for each in LOOP.health_issues(volume_dir, shape, path=None)]


def test_no_use_of_a_mounted_volume_frees_its_blocks(volume_dir: Path) -> None:
    """Writes, deletions and fstrim, and the zeros that ext4 writes after it was mounted."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    _stage(volume_dir, shape)
    (_staging(volume_dir) / "big").write_bytes(os.urandom(8 * MIB))
    os.sync()
    (_staging(volume_dir) / "big").unlink()
    os.sync()
    trimmed = subprocess.run(["fstrim", str(_staging(volume_dir))], check=False, capture_output=True, text=True)

    assert trimmed.returncode, "there is nothing to trim"
    _unstage(volume_dir)
    assert _reserved(volume_dir) >= shape.size_bytes
    assert _reasons(volume_dir, shape) == []


def test_no_use_of_a_raw_volume_frees_its_blocks(volume_dir: Path) -> None:
    """Tried with mkfs, blkdiscard, and a hole punched into the device."""
    shape = _shape(access_type="block")
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(device.path)], check=True)
    subprocess.run(["blkdiscard", "-f", str(device.path)], check=False, capture_output=True)
    _punch(device.path)
    _unstage(volume_dir)

    assert _reserved(volume_dir) >= shape.size_bytes


def test_a_thin_volume_frees_deleted_blocks_also_on_a_device_number_that_a_thick_one_had(volume_dir: Path) -> None:
    """The discard limit stays with the device's number, also if the driver that set it was killed."""
    shape = _shape("thin")
    LOOP.create(volume_dir, shape)
    with loopdev.attached(volume_dir / "image", tag="killed", discards=False) as limited:
        assert not loopdev.passes_discards(limited)
    assert block_queue.is_limited(limited.path.name)
    device = _stage(volume_dir, shape)

    assert loopdev.passes_discards(device)
    (_staging(volume_dir) / "big").write_bytes(os.urandom(8 * MIB))
    os.sync()
    (_staging(volume_dir) / "big").unlink()
    os.sync()
    subprocess.run(["fstrim", str(_staging(volume_dir))], check=True)
    assert _reserved(volume_dir) < 8 * MIB


def test_holes_are_filled_when_the_volume_is_staged(volume_dir: Path) -> None:
    """Holes of an earlier version, or of a copy; until then the volume's health reports them."""
    shape = _shape(access_type="block")
    LOOP.create(volume_dir, shape)
    _punch(volume_dir / "image")
    assert _reasons(volume_dir, shape) == ["NotReserved"]
    _stage(volume_dir, shape)

    assert _reserved(volume_dir) >= shape.size_bytes
    assert _reasons(volume_dir, shape) == []


def test_a_volume_on_a_full_disk_is_staged_and_its_health_reports_missing_blocks(tmp_path: Path) -> None:
    """The data is complete, and the volume's pod may be the one that frees space."""
    with _disk(tmp_path, "-m", "0", size=32 * MIB) as volume_dir:
        shape = _shape(access_type="block")
        LOOP.create(volume_dir, shape)
        _punch(volume_dir / "image")
        with (volume_dir.parent / "full").open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(MIB))
                file.flush()
        _stage(volume_dir, shape)

        assert _reasons(volume_dir, shape) == ["NotReserved"]


def test_on_a_filesystem_that_cannot_reserve_a_thick_image_is_refused_and_not_written(tmp_path: Path) -> None:
    """An ext4 without extents has no fallocate(2); a C library would write to each block instead."""
    with _disk(tmp_path, "-O", "^extent,^64bit") as volume_dir:
        with pytest.raises(NotReservableError, match="use provisioning: thin"):
            LOOP.create(volume_dir, _shape())
        assert (volume_dir / "image.new").stat().st_blocks == 0
        LOOP.create(volume_dir, _shape("thin"))


def test_a_device_that_stays_attached_still_passes_no_discards(volume_dir: Path) -> None:
    """A volume in use cannot be unstaged, and stays thick."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    with (_staging(volume_dir) / "open").open("wb"), pytest.raises(StillInUseError):
        _unstage(volume_dir)

    assert not loopdev.passes_discards(device)


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_a_detached_device_leaves_no_discard_limit(volume_dir: Path, access_type: str) -> None:
    """The next user of its number can discard."""
    shape = _shape(access_type=access_type)
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    assert block_queue.is_limited(device.path.name)
    _unstage(volume_dir)

    assert not block_queue.is_limited(device.path.name)


def test_a_failed_mount_leaves_no_discard_limit(volume_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its device is detached at once."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    seen: list[str] = []
    mount = mounts.mount

    def record(source: str, target: Path, *, fs_type: str, options: Sequence[str]) -> None:
        seen.append(Path(source).name)
        mount(source, target, fs_type=fs_type, options=options)

    monkeypatch.setattr(mounts, "mount", record)
    with pytest.raises(MountError):
        LOOP.stage(volume_dir, shape, staging=_staging(volume_dir), mount_flags=["no-such-option"])

    assert [block_queue.is_limited(name) for name in seen] == [False]


def test_where_sysfs_cannot_be_written_the_volume_is_staged_and_its_health_reports_it(
    volume_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container where it is read-only."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    with monkeypatch.context() as patch:
        patch.setattr(block_queue, "_SYSTEM", tmp_path / "nowhere")
        _stage(volume_dir, shape)
    assert mounts.is_mount(_staging(volume_dir))
    assert _reasons(volume_dir, shape) == ["DiscardsPassedOn"]

    _stage(volume_dir, shape)
    assert _reasons(volume_dir, shape) == [], "staging it again disables the discards"


@pytest.mark.limit("thick-is-reserved-once")
@pytest.mark.needs("btrfs")
def test_writes_to_shared_blocks_or_on_btrfs_do_not_use_the_reserved_ones(tmp_path: Path) -> None:
    """The image has all its blocks, and writes to it use more space of the disk nevertheless."""
    with _disk(tmp_path, kind="btrfs", size=256 * MIB) as volume_dir:
        shape = _shape(access_type="block")
        LOOP.create(volume_dir, shape)
        device = _stage(volume_dir, shape)
        device.path.write_bytes(os.urandom(16 * MIB))
        os.sync()
        subprocess.run(["cp", "--reflink=always", str(volume_dir / "image"), str(volume_dir / "copy")], check=True)
        os.sync()
        before = os.statvfs(volume_dir).f_bfree
        device.path.write_bytes(os.urandom(16 * MIB))
        os.sync()

        assert _reserved(volume_dir) >= shape.size_bytes
        assert (before - os.statvfs(volume_dir).f_bfree) * 4096 >= 8 * MIB
        assert _reasons(volume_dir, shape) == []
