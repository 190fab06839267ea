"""A thick image keeps a block for each of its bytes, whatever is done on the volume, and says so when it cannot."""

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
LOOP = Loop()


def _shape(provisioning: str = "thick", *, access_type: str = "mount") -> Shape:
    fs_type, fs_uuid = ("ext4", str(uuid.uuid4())) if access_type == "mount" else ("", "")
    return Shape("pool.v", 16 * MIB, access_type, fs_type, fs_uuid, provisioning, True)


@contextlib.contextmanager
def _disk(tmp_path: Path, *options: str, kind: str = "ext4", size: int = 128 * MIB) -> Iterator[Path]:
    """A volume's directory on a disk of its own, with a place to mount it beside; nothing stays staged."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", *options, str(image)], check=True, capture_output=True)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    for each in (disk / "home", tmp_path / "staging"):
        each.mkdir()
    try:
        yield disk / "home"
    finally:
        _unstage(disk / "home")
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def volume_dir(tmp_path: Path) -> Iterator[Path]:
    """On ext4."""
    with _disk(tmp_path) as found:
        yield found


def _staging(volume_dir: Path) -> Path:
    return volume_dir.parent.parent / "staging"


def _stage(volume_dir: Path, shape: Shape) -> loopdev.Loop:
    LOOP.stage(volume_dir, shape, staging=_staging(volume_dir), mount_flags=[])
    (device,) = loopdev.find(volume_dir / "image", tag=loopdev.tag_of("pool.v"))
    return device


def _unstage(volume_dir: Path) -> None:
    teardown.unstage(
        Removal(Identity("pool.v", volume_dir.name, volume_dir), _staging(volume_dir)), mounted=True, devices=True
    )


def _reserved(volume_dir: Path) -> int:
    return (volume_dir / "image").stat().st_blocks * 512


def _punch(path: Path, start: int = 4 * MIB, length: int = 8 * MIB) -> int:
    """Make a hole by hand; the exit code."""
    argv = ["fallocate", "--punch-hole", "--offset", str(start), "--length", str(length), str(path)]
    return subprocess.run(argv, check=False, capture_output=True).returncode


def _reasons(volume_dir: Path, shape: Shape) -> list[str]:
    return [each.reason for each in LOOP.health_issues(volume_dir, shape, path=None)]


def test_nothing_that_is_done_in_a_mounted_volume_takes_its_blocks(volume_dir: Path) -> None:
    """Writing, deleting and fstrim, and the zeros that ext4 writes after it was mounted."""
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


def test_nothing_that_is_done_to_a_raw_volume_takes_its_blocks(volume_dir: Path) -> None:
    """mkfs, blkdiscard, and a hole punched into the device."""
    shape = _shape(access_type="block")
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(device.path)], check=True)
    subprocess.run(["blkdiscard", "-f", str(device.path)], check=False, capture_output=True)
    _punch(device.path)
    _unstage(volume_dir)

    assert _reserved(volume_dir) >= shape.size_bytes


def test_a_thin_volume_gives_back_what_is_deleted_also_on_a_number_that_a_thick_one_had(volume_dir: Path) -> None:
    """The limit stays with the device's number, also when the driver that set it was killed."""
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
    """Those of a former version, or of a copy; until then its health tells."""
    shape = _shape(access_type="block")
    LOOP.create(volume_dir, shape)
    _punch(volume_dir / "image")
    assert _reasons(volume_dir, shape) == ["NotReserved"]
    _stage(volume_dir, shape)

    assert _reserved(volume_dir) >= shape.size_bytes
    assert _reasons(volume_dir, shape) == []


def test_a_full_disk_keeps_no_volume_from_being_staged_and_its_health_tells(tmp_path: Path) -> None:
    """The data is there, and its pod may be what frees the space."""
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


def test_a_filesystem_that_cannot_reserve_refuses_a_thick_image_instead_of_writing_it(tmp_path: Path) -> None:
    """An ext4 without extents has no fallocate(2), which a C library would replace by writing to each block."""
    with _disk(tmp_path, "-O", "^extent,^64bit") as volume_dir:
        with pytest.raises(NotReservableError, match="use provisioning: thin"):
            LOOP.create(volume_dir, _shape())
        assert (volume_dir / "image.new").stat().st_blocks == 0
        LOOP.create(volume_dir, _shape("thin"))


def test_a_device_that_stays_keeps_the_blocks(volume_dir: Path) -> None:
    """A volume that is still used cannot be unstaged, and is as thick as before."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    with (_staging(volume_dir) / "open").open("wb"), pytest.raises(StillInUseError):
        _unstage(volume_dir)

    assert not loopdev.passes_discards(device)


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_a_device_that_goes_leaves_no_limit_behind(volume_dir: Path, access_type: str) -> None:
    """Who has its number next is not to know."""
    shape = _shape(access_type=access_type)
    LOOP.create(volume_dir, shape)
    device = _stage(volume_dir, shape)
    assert block_queue.is_limited(device.path.name)
    _unstage(volume_dir)

    assert not block_queue.is_limited(device.path.name)


def test_a_mount_that_fails_leaves_no_limit_behind(volume_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its device goes at once."""
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


def test_where_sysfs_cannot_be_written_the_volume_is_used_and_its_health_tells(
    volume_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that has it read-only."""
    shape = _shape()
    LOOP.create(volume_dir, shape)
    with monkeypatch.context() as patch:
        patch.setattr(block_queue, "_SYSTEM", tmp_path / "nowhere")
        _stage(volume_dir, shape)
    assert mounts.is_mount(_staging(volume_dir))
    assert _reasons(volume_dir, shape) == ["DiscardsPassedOn"]

    _stage(volume_dir, shape)
    assert _reasons(volume_dir, shape) == [], "staging it again sets what can be set now"


@pytest.mark.limit("thick-is-reserved-once")
@pytest.mark.needs("btrfs")
def test_what_is_shared_or_on_btrfs_is_written_elsewhere_than_it_was_reserved(tmp_path: Path) -> None:
    """The image has all its blocks, and writing into it takes more of the disk nevertheless."""
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
