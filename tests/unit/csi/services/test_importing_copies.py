"""No two volumes of a node have filesystems with the same UUID, also if they were imported from copies of one image."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi.host import superblocks
from csi.v1 import inventory_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, code_of
from tests.unit.csi.services.kinds import BTRFS, EXT4, XFS, Kind, each, serving

LABELS = {"mooring.dev/namespace": "default", "mooring.dev/claim": "www-web-0"}


def _import(driver: Driver, item: str) -> inventory_pb2.Manifest:
    """Import the item as a volume of the same name."""
    holder = inventory_pb2.Holder(labels=LABELS)
    return driver.inventory.Import(
        inventory_pb2.ImportRequest(name=item, item=item, holder=holder), timeout=30
    ).manifest


def _refusal(driver: Driver, item: str) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        _import(driver, item)
    return code_of(refused.value), refused.value.details() or ""


@contextlib.contextmanager
def _mounted(image: Path, *options: str) -> Iterator[Path]:
    """The image, mounted outside of the driver."""
    path = image.parent.parent.parent / f"by-hand-{image.name}"
    path.mkdir()
    subprocess.run(["mount", "-o", ",".join(["loop", *options]), str(image), str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
        path.rmdir()


def _images(driver: Driver, kind: Kind, *names: str, dirty: bool = False) -> list[Path]:
    """Copies of one image with a file in it; `dirty`: copied while it was mounted, with a log to replay."""
    folder = driver.pool / "import"
    folder.mkdir(exist_ok=True)
    first, *others = [folder / name for name in names]
    with first.open("wb") as file:
        file.truncate(kind.size)
    subprocess.run([f"mkfs.{kind.name.partition('/')[2]}", "-q", str(first)], check=True, capture_output=True)
    with _mounted(first) as path:
        (path / "file").write_text("data", encoding="utf-8")
        subprocess.run(["sync", "-f", str(path)], check=True)
        (path / "late").mkdir()
        subprocess.run(["sync", str(path / "late")], check=True)
        if dirty:
            _copy(first, *others)
    if not dirty:
        _copy(first, *others)
    return [first, *others]


def _copy(source: Path, *targets: Path) -> None:
    for target in targets:
        subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)


def _uuid(driver: Driver, manifest: inventory_pb2.Manifest) -> str:
    image = driver.pool / "volumes" / manifest.csi_name / "image"
    return superblocks.uuid(image, fs_type=manifest.fs_type)


def _contents(driver: Driver, handle: str) -> str:
    """Stage the volume and return the contents of its file."""
    return (driver.stage(handle) / "file").read_text(encoding="utf-8")


@each(EXT4, XFS, BTRFS)
def test_a_copy_gets_a_new_uuid_and_both_can_be_mounted(tmp_path: Path, kind: Kind) -> None:
    """The first image is not changed and keeps its UUID; both are mounted at the same time, with their files."""
    with serving(tmp_path, kind) as driver:
        first, _ = _images(driver, kind, "one", "two")
        before, written = superblocks.uuid(first, fs_type=kind.name.partition("/")[2]), first.stat().st_mtime_ns
        one, two = _import(driver, "one"), _import(driver, "two")

        assert (driver.pool / "volumes/one/image").stat().st_mtime_ns == written
        assert one.fs_uuid == before != two.fs_uuid
        assert [_uuid(driver, one), _uuid(driver, two)] == [one.fs_uuid, two.fs_uuid]
        assert _import(driver, "two") == two, "the same request is the same volume"
        assert [_contents(driver, each.volume_id) for each in (one, two)] == ["data", "data"]
        for manifest in (one, two):
            driver.unstage(manifest.volume_id)


@each(EXT4, XFS, BTRFS)
def test_a_copy_with_a_log_to_replay_gets_a_new_uuid_or_is_refused_with_the_next_step(
    tmp_path: Path, kind: Kind
) -> None:
    """E2fsck replays the log of ext4; other programs do not, so the copy is not changed and reserves no bytes."""
    with serving(tmp_path, kind) as driver:
        _, copy = _images(driver, kind, "one", "two", dirty=True)
        one, before = _import(driver, "one"), copy.stat().st_mtime_ns
        if kind is EXT4:
            two = _import(driver, "two")
            assert two.fs_uuid == _uuid(driver, two) != one.fs_uuid
        else:
            code, message = _refusal(driver, "two")
            assert code == "FAILED_PRECONDITION"
            assert str(copy) in message
            assert "its log is not replayed" in message
            assert "mount it once" in message
            assert copy.stat().st_mtime_ns == before
            assert not (driver.pool / "volumes/two").exists()
            pools = driver.inventory.ListPools(inventory_pb2.ListPoolsRequest(), timeout=SECONDS).pools
            assert pools[0].allocated_bytes == kind.size
            with _mounted(copy, *(["nouuid"] if kind is XFS else [])):
                pass
            two = _import(driver, "two")
        assert _contents(driver, one.volume_id) == _contents(driver, two.volume_id) == "data"
        for manifest in (one, two):
            driver.unstage(manifest.volume_id)


@each(EXT4)
def test_a_uuid_of_the_trash_or_of_a_filesystem_mounted_outside_of_the_driver_counts_as_used(
    tmp_path: Path, kind: Kind
) -> None:
    """A deleted volume can be restored, and a copy of a mounted filesystem could not be mounted."""
    with serving(tmp_path, kind) as driver:
        first, *_ = _images(driver, kind, "one", "two", "three")
        seen = superblocks.uuid(first, fs_type="ext4")
        with _mounted(first):
            by_hand = _import(driver, "two")
        one = _import(driver, "one")
        driver.delete(one.volume_id)
        three = _import(driver, "three")

        assert one.fs_uuid == seen
        assert len({one.fs_uuid, by_hand.fs_uuid, three.fs_uuid}) == 3


@each(XFS)
def test_a_filesystem_without_a_uuid_gets_one(tmp_path: Path, kind: Kind) -> None:
    """The kernel mounts no xfs whose UUID is nil."""
    with serving(tmp_path, kind) as driver:
        (image,) = _images(driver, kind, "one")
        subprocess.run(["xfs_db", "-x", "-c", f"uuid {uuid.UUID(int=0)}", str(image)], check=True, capture_output=True)
        one = _import(driver, "one")

        assert one.fs_uuid == _uuid(driver, one) != str(uuid.UUID(int=0))
        assert _contents(driver, one.volume_id) == "data"
        driver.unstage(one.volume_id)


@each(EXT4)
def test_an_image_that_cannot_be_moved_is_refused_and_reserves_nothing(tmp_path: Path, kind: Kind) -> None:
    """The error for an immutable file names it and the attribute, and a retry succeeds."""
    with serving(tmp_path, kind) as driver:
        (image,) = _images(driver, kind, "one")
        subprocess.run(["chattr", "+i", str(image)], check=True)
        try:
            code, message = _refusal(driver, "one")
        finally:
            subprocess.run(["chattr", "-i", str(image)], check=True)

        assert (code, str(image) in message, "immutable" in message) == ("FAILED_PRECONDITION", True, True)
        assert not (driver.pool / "volumes/one").exists()
        assert _import(driver, "one").state == "ready"


@each(XFS)
def test_the_error_of_a_mount_refused_for_its_uuid_names_the_other_volume_and_the_next_step(
    tmp_path: Path, kind: Kind
) -> None:
    """It is never just "Invalid argument"; here the image was copied from another volume's."""
    with serving(tmp_path, kind) as driver:
        one, two = kind.create(driver, "one"), kind.create(driver, "two")
        image = driver.pool / "volumes/two/image"
        _copy(driver.pool / "volumes/one/image", image)
        driver.stage(one)
        with pytest.raises(grpc.RpcError) as refused:
            driver.stage(two)
        message = refused.value.details() or ""

        assert code_of(refused.value) == "FAILED_PRECONDITION"
        assert one in message
        assert f"xfs_db -x -c 'uuid generate' {image}" in message
        subprocess.run(["xfs_db", "-x", "-c", "uuid generate", str(image)], check=True, capture_output=True)
        driver.stage(two)
        driver.unstage(two)
        driver.unstage(one)
