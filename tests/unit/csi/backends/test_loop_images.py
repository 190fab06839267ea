"""Loop volumes: exact sizes, a filesystem that is never replaced, devices identified by tag and inode."""

import struct
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from csi.backends import teardown
from csi.backends.loop import Loop
from csi.backends.mount_facts import Identity
from csi.backends.protocol import Shape
from csi.backends.teardown import Removal
from csi.host import filesystems, loopdev, mounts, superblocks
from csi.host.errors import HostError, ImageLockedError, MountError, NoSpaceError, NotBlankError, StillInUseError
from csi.host.locks import locked

pytestmark = pytest.mark.needs("root", "loop")
MIB = 1 << 20
# A handle of its own: loop devices are found by it, also those of a test process beside this one.
HANDLE = f"pool.{uuid.uuid4()}"


def _shape(**changes: object) -> Shape:
    usual = Shape(HANDLE, 16 * MIB, "mount", "ext4", str(uuid.uuid4()), "thin", True)
    return replace(usual, **changes)  # type: ignore[arg-type]


@pytest.fixture
def volume_dir(tmp_path: Path) -> Path:
    """A volume's directory, with mount points beside it."""
    for name in ("volume", "staging", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "volume"


@pytest.mark.parametrize("provisioning", ["thin", "thick"])
@pytest.mark.parametrize("size", [16 * MIB, 16 * MIB + 4096])
def test_an_image_has_exactly_its_size(volume_dir: Path, provisioning: str, size: int) -> None:
    """A thin image occupies the written bytes, a thick one all of its bytes at once."""
    shape = _shape(size_bytes=size, provisioning=provisioning)
    Loop().create(volume_dir, shape)
    Loop().create(volume_dir, shape)
    found = (volume_dir / "image").stat()

    assert found.st_size == size
    assert (found.st_blocks * 512 >= size) == (provisioning == "thick")
    assert filesystems.probe(volume_dir / "image") == filesystems.Found("ext4", shape.fs_uuid)


def test_an_interrupted_creation_starts_over(volume_dir: Path) -> None:
    """An image without its final name was never used."""
    (volume_dir / "image.new").write_bytes(b"half")
    shape = _shape()
    Loop().create(volume_dir, shape)

    assert sorted(each.name for each in volume_dir.iterdir()) == ["image"]


@pytest.mark.parametrize("other", ["another filesystem", "blank", "another size"])
def test_an_image_that_is_not_the_volumes_is_not_changed(volume_dir: Path, other: str) -> None:
    """It is never formatted and never truncated (I3)."""
    shape = _shape()
    Loop().create(volume_dir, shape)
    if other == "blank":
        (volume_dir / "image").write_bytes(b"\0" * shape.size_bytes)
    before = (volume_dir / "image").read_bytes()
    wrong = {"another filesystem": _shape(), "another size": replace(shape, size_bytes=8 * MIB)}.get(other, shape)

    with pytest.raises(HostError):
        Loop().create(volume_dir, wrong)
    assert (volume_dir / "image").read_bytes() == before


def test_only_a_certainly_blank_image_is_formatted(tmp_path: Path) -> None:
    """A partition table, a filesystem, or contents that blkid cannot identify are refused."""
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 4 * MIB)
    assert filesystems.probe(image) is None
    partition = struct.pack("<B3sB3sII", 0, b"\0\x21\0", 0x83, b"\x0a\x0a\0", 2048, 4096)
    image.write_bytes(b"\0" * 446 + partition + b"\0" * 48 + b"\x55\xaa" + b"\0" * 4 * MIB)
    with pytest.raises(NotBlankError), locked(image) as locked_image:
        filesystems.create(locked_image, fs_type="ext4", uuid=str(uuid.uuid4()))
    with pytest.raises(NotBlankError):
        filesystems.probe(tmp_path / "missing")


def test_a_volume_takes_no_byte_more_than_its_size(volume_dir: Path) -> None:
    """The kernel refuses it; the device uses direct I/O and is detached with the mount."""
    loop, shape, staging = Loop(), _shape(), volume_dir.parent / "staging"
    loop.create(volume_dir, shape)
    loop.stage(volume_dir, shape, staging=staging, mount_flags=["noatime"])
    loop.stage(volume_dir, shape, staging=staging, mount_flags=["noatime"])
    try:
        (device,) = loopdev.find(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id))
        assert device.direct_io
        assert loop.is_staged(volume_dir, shape, staging=staging)
        with pytest.raises(OSError, match="No space left"):
            (staging / "big").write_bytes(b"x" * 17 * MIB)
        with pytest.raises(MountError, match="still mounted"):
            loop.detach(volume_dir, shape)
    finally:
        _unstage(volume_dir, shape, staging)
    _unstage(volume_dir, shape, staging)

    assert loopdev.find(volume_dir / "image", tag=loopdev.tag_of(shape.volume_id)) == []


def test_a_device_is_identified_by_tag_and_inode_and_not_by_its_path(volume_dir: Path) -> None:
    """A device of another program over the image is not found, nor is the driver's device over another image."""
    shape = _shape()
    Loop().create(volume_dir, shape)
    tag = loopdev.tag_of(shape.volume_id)
    with loopdev.attached(volume_dir / "image", tag="other"):
        assert loopdev.find(volume_dir / "image", tag=tag) == []
    with loopdev.attached(volume_dir / "image", tag=tag):
        assert len(loopdev.find(volume_dir / "image", tag=tag)) == 1
        (volume_dir / "image").rename(volume_dir / "moved")
        (volume_dir / "image").write_bytes(b"another")
        assert loopdev.find(volume_dir / "image", tag=tag) == []
        assert len(loopdev.find(volume_dir / "moved", tag=tag)) == 1
    assert loopdev.find(volume_dir / "moved", tag=tag) == []


def _unstage(volume_dir: Path, shape: Shape, staging: Path) -> None:
    volume = Identity(shape.volume_id, volume_dir.name, volume_dir)
    teardown.unmount(Removal(volume, staging))
    teardown.detach(volume)


def test_another_mount_at_the_staging_path_is_refused(volume_dir: Path) -> None:
    """Nothing is mounted over it."""
    shape, staging = _shape(), volume_dir.parent / "staging"
    Loop().create(volume_dir, shape)
    mounts.bind(volume_dir.parent / "other", staging)
    try:
        with pytest.raises(MountError, match="another filesystem is already mounted"):
            Loop().stage(volume_dir, shape, staging=staging, mount_flags=[])
    finally:
        mounts.unmount(staging)


def test_the_message_for_a_missing_image_names_the_pools_disk(volume_dir: Path) -> None:
    """The pool's disk may be unmounted."""
    with pytest.raises(HostError, match="is the pool's disk mounted"):
        Loop().stage(volume_dir, _shape(), staging=volume_dir.parent / "staging", mount_flags=[])


def test_a_filesystem_with_errors_is_checked_before_it_is_mounted(volume_dir: Path) -> None:
    """The check clears the mark in the superblock; without the mark no check is started."""
    shape, staging = _shape(), volume_dir.parent / "staging"
    Loop().create(volume_dir, shape)
    assert not superblocks.has_errors(volume_dir / "image", fs_type="ext4")
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", str(volume_dir / "image")], check=True, capture_output=True)
    assert superblocks.has_errors(volume_dir / "image", fs_type="ext4")
    Loop().stage(volume_dir, shape, staging=staging, mount_flags=[])
    _unstage(volume_dir, shape, staging)

    assert not superblocks.has_errors(volume_dir / "image", fs_type="ext4")


def test_a_full_disk_refuses_a_thick_volume_and_can_be_unmounted(tmp_path: Path) -> None:
    """NoSpaceError, on a real small filesystem."""
    disk, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    with locked(image) as locked_image:
        filesystems.create(locked_image, fs_type="ext4", uuid=str(uuid.uuid4()))
    with loopdev.attached(image, tag="mooring:test") as device:
        mounts.mount(str(device.path), disk, fs_type="ext4", options=[])
    try:
        (disk / "volume").mkdir()
        with pytest.raises(NoSpaceError, match="free some space"):
            Loop().create(disk / "volume", _shape(size_bytes=32 * MIB, provisioning="thick"))
    finally:
        mounts.unmount(disk)


def test_no_operation_starts_on_an_image_that_another_process_works_on(volume_dir: Path) -> None:
    """Every operation is refused, changes nothing, and succeeds once the other process has ended."""
    loop, shape, staging = Loop(), _shape(), volume_dir.parent / "staging"
    larger = replace(shape, size_bytes=32 * MIB)
    (volume_dir / "image.new").write_bytes(b"half")
    with locked(volume_dir / "image.new"), pytest.raises(ImageLockedError):
        loop.create(volume_dir, shape)
    loop.create(volume_dir, shape)
    before = (volume_dir / "image").read_bytes()
    with locked(volume_dir / "image"):
        works: list[Callable[[], None]] = [
            lambda: loop.create(volume_dir, shape),
            lambda: loop.expand(volume_dir, larger),
            lambda: loop.expand_mounted(volume_dir, shape, path=staging),
            lambda: loop.stage(volume_dir, shape, staging=staging, mount_flags=[]),
            lambda: loop.stage(volume_dir, replace(shape, access_type="block"), staging=staging, mount_flags=[]),
        ]
        for work in works:
            with pytest.raises(ImageLockedError, match="try again"):
                work()
    assert (volume_dir / "image").read_bytes() == before
    loop.expand(volume_dir, larger)
    loop.stage(volume_dir, larger, staging=staging, mount_flags=[])
    _unstage(volume_dir, larger, staging)


@pytest.mark.parametrize("how", ["mount namespace", "open"])
def test_detach_waits_for_a_device_in_use_and_names_its_user(
    volume_dir: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A copy of the mount in another mount namespace, which is not in the driver's mount table, or an open device."""
    monkeypatch.setattr(teardown, "DETACH_SECONDS", 0.1)
    loop, shape, staging = Loop(), _shape(volume_id=f"pool.{uuid.uuid4()}"), volume_dir.parent / "staging"
    volume = Identity(shape.volume_id, volume_dir.name, volume_dir)
    loop.create(volume_dir, shape)
    loop.stage(volume_dir, shape, staging=staging, mount_flags=[])
    (device,) = loopdev.find(volume_dir / "image", tag=volume.tag)
    argv = ["unshare", "--mount", "--propagation", "private"] if how == "mount namespace" else []
    script = f"exec 9<{device.path}; echo; exec sleep 60" if how == "open" else "echo; exec sleep 60"
    with subprocess.Popen([*argv, "bash", "-c", script], stdout=subprocess.PIPE) as user:
        try:
            assert user.stdout is not None
            user.stdout.readline()
            teardown.unmount(Removal(volume, staging, recorded=True))
            with pytest.raises(StillInUseError, match=rf"{how}.*process {user.pid}|process {user.pid}.*{how}"):
                teardown.detach(volume)
        finally:
            user.kill()
    monkeypatch.setattr(teardown, "DETACH_SECONDS", 20)
    teardown.detach(volume)
    assert loopdev.find(volume_dir / "image", tag=volume.tag) == []


def test_a_device_with_another_user_meanwhile_is_not_detached(volume_dir: Path) -> None:
    """Its number is free as soon as it is detached, and the next image can get it."""
    for name in ("image", "other"):
        (volume_dir / name).write_bytes(b"\0" * MIB)
    before = loopdev.attach(volume_dir / "image", tag="mooring:a", read_only=False)
    loopdev.detach(before)
    after = loopdev.attach(volume_dir / "other", tag="mooring:b", read_only=False)
    try:
        loopdev.detach(replace(before, path=after.path))
        assert loopdev.find(volume_dir / "other", tag="mooring:b") == [after]
    finally:
        loopdev.detach(after)
    loopdev.detach(after)
    assert loopdev.find(volume_dir / "other", tag="mooring:b") == []
