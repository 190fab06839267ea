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
from csi.host.errors import HostError, ImageLocked, MountFailed, NoSpace, NotBlank, StillInUse
from csi.host.locks import locked

pytestmark = pytest.mark.needs("root", "loop")
MIB = 1 << 20


def _shape(**changes: object) -> Shape:
    usual = Shape("pool.v", 16 * MIB, "mount", "ext4", str(uuid.uuid4()), "thin", True)
    return replace(usual, **changes)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A volume's directory, with places to mount beside it."""
    for name in ("home", "staging", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("provisioning", ["thin", "thick"])
@pytest.mark.parametrize("size", [16 * MIB, 16 * MIB + 4096])
def test_an_image_has_just_its_size(home: Path, provisioning: str, size: int) -> None:
    """Thin takes what is written, thick takes all of it at once."""
    shape = _shape(size_bytes=size, provisioning=provisioning)
    Loop().create(home, shape)
    Loop().create(home, shape)
    found = (home / "image").stat()

    assert found.st_size == size
    assert (found.st_blocks * 512 >= size) == (provisioning == "thick")
    assert filesystems.probe(home / "image") == filesystems.Found("ext4", shape.fs_uuid)


def test_a_creation_that_was_cut_off_starts_over(home: Path) -> None:
    """What has not its final name was never used."""
    (home / "image.new").write_bytes(b"half")
    shape = _shape()
    Loop().create(home, shape)

    assert sorted(each.name for each in home.iterdir()) == ["image"]


@pytest.mark.parametrize("other", ["another filesystem", "blank", "another size"])
def test_an_image_that_is_not_its_own_is_left_as_it_is(home: Path, other: str) -> None:
    """Never formatted, never cut (I3)."""
    shape = _shape()
    Loop().create(home, shape)
    if other == "blank":
        (home / "image").write_bytes(b"\0" * shape.size_bytes)
    before = (home / "image").read_bytes()
    wrong = {"another filesystem": _shape(), "another size": replace(shape, size_bytes=8 * MIB)}.get(other, shape)

    with pytest.raises(HostError):
        Loop().create(home, wrong)
    assert (home / "image").read_bytes() == before


def test_only_what_is_certainly_blank_is_formatted(tmp_path: Path) -> None:
    """A partition table, a filesystem, or what blkid cannot tell: refused."""
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 4 * MIB)
    assert filesystems.probe(image) is None
    partition = struct.pack("<B3sB3sII", 0, b"\0\x21\0", 0x83, b"\x0a\x0a\0", 2048, 4096)
    image.write_bytes(b"\0" * 446 + partition + b"\0" * 48 + b"\x55\xaa" + b"\0" * 4 * MIB)
    with pytest.raises(NotBlank), locked(image) as held:
        filesystems.make(held, fs_type="ext4", uuid=str(uuid.uuid4()))
    with pytest.raises(NotBlank):
        filesystems.probe(tmp_path / "missing")


def test_a_volume_takes_its_size_and_not_a_byte_more(home: Path) -> None:
    """The kernel says no; the direct I/O and the device go with the mount."""
    loop, shape, staging = Loop(), _shape(), home.parent / "staging"
    loop.create(home, shape)
    loop.stage(home, shape, staging=staging, mount_flags=["noatime"])
    loop.stage(home, shape, staging=staging, mount_flags=["noatime"])
    try:
        (device,) = loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id))
        assert device.direct_io
        assert loop.is_staged(home, shape, staging=staging)
        with pytest.raises(OSError, match="No space left"):
            (staging / "big").write_bytes(b"x" * 17 * MIB)
        with pytest.raises(MountFailed, match="still mounted"):
            loop.detach(home, shape)
    finally:
        _unstage(home, shape, staging)
    _unstage(home, shape, staging)

    assert loopdev.find(home / "image", tag=loopdev.tag_of(shape.volume_id)) == []


def test_a_device_is_ours_by_tag_and_inode_not_by_its_path(home: Path) -> None:
    """Somebody else's device over our image is not touched, nor is ours over another image."""
    shape = _shape()
    Loop().create(home, shape)
    tag = loopdev.tag_of(shape.volume_id)
    with loopdev.attached(home / "image", tag="stranger"):
        assert loopdev.find(home / "image", tag=tag) == []
    with loopdev.attached(home / "image", tag=tag):
        assert len(loopdev.find(home / "image", tag=tag)) == 1
        (home / "image").rename(home / "moved")
        (home / "image").write_bytes(b"another")
        assert loopdev.find(home / "image", tag=tag) == []
        assert len(loopdev.find(home / "moved", tag=tag)) == 1
    assert loopdev.find(home / "moved", tag=tag) == []


def _unstage(home: Path, shape: Shape, staging: Path) -> None:
    volume = Identity(shape.volume_id, home.name, home)
    teardown.unmount(Removal(volume, staging))
    teardown.detach(volume)


def test_something_else_at_the_staging_path_is_refused(home: Path) -> None:
    """It is not mounted over."""
    shape, staging = _shape(), home.parent / "staging"
    Loop().create(home, shape)
    mounts.bind(home.parent / "other", staging)
    try:
        with pytest.raises(MountFailed, match="something else is mounted"):
            Loop().stage(home, shape, staging=staging, mount_flags=[])
    finally:
        mounts.unmount(staging)


def test_a_missing_image_asks_for_the_disk(home: Path) -> None:
    """The pool's disk may have gone."""
    with pytest.raises(HostError, match="is the pool's disk mounted"):
        Loop().stage(home, _shape(), staging=home.parent / "staging", mount_flags=[])


def test_a_filesystem_that_remembers_errors_is_checked_before_it_is_mounted(home: Path) -> None:
    """Where it is not needed, nothing is started for it."""
    shape, staging = _shape(), home.parent / "staging"
    Loop().create(home, shape)
    assert not superblocks.remembers_errors(home / "image", fs_type="ext4")
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", str(home / "image")], check=True, capture_output=True)
    assert superblocks.remembers_errors(home / "image", fs_type="ext4")
    Loop().stage(home, shape, staging=staging, mount_flags=[])
    _unstage(home, shape, staging)

    assert not superblocks.remembers_errors(home / "image", fs_type="ext4")


def test_a_full_disk_refuses_a_thick_volume_and_keeps_nothing_open(tmp_path: Path) -> None:
    """NoSpace, on a real small filesystem."""
    disk, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    with locked(image) as held:
        filesystems.make(held, fs_type="ext4", uuid=str(uuid.uuid4()))
    with loopdev.attached(image, tag="mooring:test") as device:
        mounts.mount(str(device.path), disk, fs_type="ext4", options=[])
    try:
        (disk / "home").mkdir()
        with pytest.raises(NoSpace, match="free some space"):
            Loop().create(disk / "home", _shape(size_bytes=32 * MIB, provisioning="thick"))
    finally:
        mounts.unmount(disk)


def test_no_work_begins_on_an_image_that_another_process_works_on(home: Path) -> None:
    """Whatever the work is; nothing is changed, and it succeeds once the other has ended."""
    loop, shape, staging = Loop(), _shape(), home.parent / "staging"
    larger = replace(shape, size_bytes=32 * MIB)
    (home / "image.new").write_bytes(b"half")
    with locked(home / "image.new"), pytest.raises(ImageLocked):
        loop.create(home, shape)
    loop.create(home, shape)
    before = (home / "image").read_bytes()
    with locked(home / "image"):
        works: list[Callable[[], None]] = [
            lambda: loop.create(home, shape),
            lambda: loop.expand(home, larger),
            lambda: loop.grow(home, shape, path=staging),
            lambda: loop.stage(home, shape, staging=staging, mount_flags=[]),
            lambda: loop.stage(home, replace(shape, access_type="block"), staging=staging, mount_flags=[]),
        ]
        for work in works:
            with pytest.raises(ImageLocked, match="try again"):
                work()
    assert (home / "image").read_bytes() == before
    loop.expand(home, larger)
    loop.stage(home, larger, staging=staging, mount_flags=[])
    _unstage(home, larger, staging)


@pytest.mark.parametrize("how", ["mount namespace", "open"])
def test_a_device_that_is_used_elsewhere_is_waited_for_and_its_user_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A copy of the mount in another mount namespace, which our table does not show, or an open device."""
    monkeypatch.setattr(teardown, "DETACH_SECONDS", 0.1)
    loop, shape, staging = Loop(), _shape(volume_id=f"pool.{uuid.uuid4()}"), home.parent / "staging"
    volume = Identity(shape.volume_id, home.name, home)
    loop.create(home, shape)
    loop.stage(home, shape, staging=staging, mount_flags=[])
    (device,) = loopdev.find(home / "image", tag=volume.tag)
    argv = ["unshare", "--mount", "--propagation", "private"] if how == "mount namespace" else []
    script = f"exec 9<{device.path}; echo; exec sleep 60" if how == "open" else "echo; exec sleep 60"
    with subprocess.Popen([*argv, "bash", "-c", script], stdout=subprocess.PIPE) as user:
        try:
            assert user.stdout is not None
            user.stdout.readline()
            teardown.unmount(Removal(volume, staging, recorded=True))
            with pytest.raises(StillInUse, match=rf"{how}.*process {user.pid}|process {user.pid}.*{how}"):
                teardown.detach(volume)
        finally:
            user.kill()
    monkeypatch.setattr(teardown, "DETACH_SECONDS", 20)
    teardown.detach(volume)
    assert loopdev.find(home / "image", tag=volume.tag) == []


def test_a_device_that_was_given_to_somebody_else_meanwhile_is_not_detached(home: Path) -> None:
    """Its number is free as soon as it is detached, and the next image takes it."""
    for name in ("image", "other"):
        (home / name).write_bytes(b"\0" * MIB)
    before = loopdev.attach(home / "image", tag="mooring:a", read_only=False)
    loopdev.detach(before)
    after = loopdev.attach(home / "other", tag="mooring:b", read_only=False)
    try:
        loopdev.detach(replace(before, path=after.path))
        assert loopdev.find(home / "other", tag="mooring:b") == [after]
    finally:
        loopdev.detach(after)
    loopdev.detach(after)
    assert loopdev.find(home / "other", tag="mooring:b") == []
