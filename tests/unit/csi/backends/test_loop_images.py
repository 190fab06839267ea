"""Loop volumes: exact sizes, one filesystem for ever, devices that are ours by tag and inode."""

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


def _shape(**changes: object) -> Shape:
    usual = Shape("pool.v", 16 * MIB, "mount", "ext4", str(uuid.uuid4()), "thin", True)
    return replace(usual, **changes)  # type: ignore[arg-type]


@pytest.fixture
def volume_dir(tmp_path: Path) -> Path:
    """A volume's directory, with places to mount beside it."""
    for name in ("home", "staging", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("provisioning", ["thin", "thick"])
@pytest.mark.parametrize("size", [16 * MIB, 16 * MIB + 4096])
def test_an_image_has_just_its_size(volume_dir: Path, provisioning: str, size: int) -> None:
    """Thin takes what is written, thick takes all of it at once."""
    shape = _shape(size_bytes=size, provisioning=provisioning)
    Loop().create(volume_dir, shape)
    Loop().create(volume_dir, shape)
    found = (volume_dir / "image").stat()

    assert found.st_size == size
    assert (found.st_blocks * 512 >= size) == (provisioning == "thick")
    assert filesystems.probe(volume_dir / "image") == filesystems.Found("ext4", shape.fs_uuid)


def test_a_creation_that_was_cut_off_starts_over(volume_dir: Path) -> None:
    """What has not its final name was never used."""
    (volume_dir / "image.new").write_bytes(b"half")
    shape = _shape()
    Loop().create(volume_dir, shape)

    assert sorted(each.name for each in volume_dir.iterdir()) == ["image"]


@pytest.mark.parametrize("other", ["another filesystem", "blank", "another size"])
def test_an_image_that_is_not_its_own_is_left_as_it_is(volume_dir: Path, other: str) -> None:
    """Never formatted, never cut (I3)."""
    shape = _shape()
    Loop().create(volume_dir, shape)
    if other == "blank":
        (volume_dir / "image").write_bytes(b"\0" * shape.size_bytes)
    before = (volume_dir / "image").read_bytes()
    wrong = {"another filesystem": _shape(), "another size": replace(shape, size_bytes=8 * MIB)}.get(other, shape)

    with pytest.raises(HostError):
        Loop().create(volume_dir, wrong)
    assert (volume_dir / "image").read_bytes() == before


def test_only_what_is_certainly_blank_is_formatted(tmp_path: Path) -> None:
    """A partition table, a filesystem, or what blkid cannot tell: refused."""
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 4 * MIB)
    assert filesystems.probe(image) is None
    partition = struct.pack("<B3sB3sII", 0, b"\0\x21\0", 0x83, b"\x0a\x0a\0", 2048, 4096)
    image.write_bytes(b"\0" * 446 + partition + b"\0" * 48 + b"\x55\xaa" + b"\0" * 4 * MIB)
    with pytest.raises(NotBlankError), locked(image) as locked_image:
        filesystems.create(locked_image, fs_type="ext4", uuid=str(uuid.uuid4()))
    with pytest.raises(NotBlankError):
        filesystems.probe(tmp_path / "missing")


def test_a_volume_takes_its_size_and_not_a_byte_more(volume_dir: Path) -> None:
    """The kernel says no; the direct I/O and the device go with the mount."""
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


def test_a_device_is_ours_by_tag_and_inode_not_by_its_path(volume_dir: Path) -> None:
    """Somebody else's device over our image is not touched, nor is ours over another image."""
    shape = _shape()
    Loop().create(volume_dir, shape)
    tag = loopdev.tag_of(shape.volume_id)
    with loopdev.attached(volume_dir / "image", tag="stranger"):
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


def test_something_else_at_the_staging_path_is_refused(volume_dir: Path) -> None:
    """It is not mounted over."""
    shape, staging = _shape(), volume_dir.parent / "staging"
    Loop().create(volume_dir, shape)
    mounts.bind(volume_dir.parent / "other", staging)
    try:
        with pytest.raises(MountError, match="something else is mounted"):
            Loop().stage(volume_dir, shape, staging=staging, mount_flags=[])
    finally:
        mounts.unmount(staging)


def test_a_missing_image_asks_for_the_disk(volume_dir: Path) -> None:
    """The pool's disk may have gone."""
    with pytest.raises(HostError, match="is the pool's disk mounted"):
        Loop().stage(volume_dir, _shape(), staging=volume_dir.parent / "staging", mount_flags=[])


def test_a_filesystem_that_remembers_errors_is_checked_before_it_is_mounted(volume_dir: Path) -> None:
    """Where it is not needed, nothing is started for it."""
    shape, staging = _shape(), volume_dir.parent / "staging"
    Loop().create(volume_dir, shape)
    assert not superblocks.has_errors(volume_dir / "image", fs_type="ext4")
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", str(volume_dir / "image")], check=True, capture_output=True)
    assert superblocks.has_errors(volume_dir / "image", fs_type="ext4")
    Loop().stage(volume_dir, shape, staging=staging, mount_flags=[])
    _unstage(volume_dir, shape, staging)

    assert not superblocks.has_errors(volume_dir / "image", fs_type="ext4")


def test_a_full_disk_refuses_a_thick_volume_and_keeps_nothing_open(tmp_path: Path) -> None:
    """NoSpace, on a real small filesystem."""
    disk, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    with locked(image) as locked_image:
        filesystems.create(locked_image, fs_type="ext4", uuid=str(uuid.uuid4()))
    with loopdev.attached(image, tag="mooring:test") as device:
        mounts.mount(str(device.path), disk, fs_type="ext4", options=[])
    try:
        (disk / "home").mkdir()
        with pytest.raises(NoSpaceError, match="free some space"):
            Loop().create(disk / "home", _shape(size_bytes=32 * MIB, provisioning="thick"))
    finally:
        mounts.unmount(disk)


def test_no_work_begins_on_an_image_that_another_process_works_on(volume_dir: Path) -> None:
    """Whatever the work is; nothing is changed, and it succeeds once the other has ended."""
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
def test_a_device_that_is_used_elsewhere_is_waited_for_and_its_user_named(
    volume_dir: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A copy of the mount in another mount namespace, which our table does not show, or an open device."""
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


def test_a_device_that_was_given_to_somebody_else_meanwhile_is_not_detached(volume_dir: Path) -> None:
    """Its number is free as soon as it is detached, and the next image takes it."""
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
