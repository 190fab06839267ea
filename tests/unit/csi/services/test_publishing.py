"""Staging and publishing on real mounts: the table of access modes, read-only, and cleanup."""

import grpc
import pytest

from csi.v1 import csi_pb2, inventory_pb2
from tests.unit.csi.services.driver import Driver, Mode, capability

pytestmark = pytest.mark.needs("root")


@pytest.mark.parametrize(
    ("mode", "same_other", "other_same"),
    [
        (Mode.SINGLE_NODE_SINGLE_WRITER, "ALREADY_EXISTS", "FAILED_PRECONDITION"),
        (Mode.SINGLE_NODE_MULTI_WRITER, "ALREADY_EXISTS", "OK"),
        (Mode.SINGLE_NODE_WRITER, "ALREADY_EXISTS", "OK"),
    ],
)
def test_publishing_again_follows_the_access_mode(driver: Driver, mode: int, same_other: str, other_same: str) -> None:
    """The same path and arguments: OK; the same path with other arguments; another path."""
    handle = driver.create(mode=mode).volume_id
    driver.stage(handle)
    first = driver.publish(handle, mode=mode)
    driver.publish(handle, mode=mode)

    assert _code(lambda: driver.publish(handle, mode=mode, read_only=True)) == same_other
    assert _code(lambda: driver.publish(handle, "second", mode=mode)) == other_same
    for path in (first, first.with_name(first.name.replace("target", "second"))):
        driver.unpublish(handle, path)
        assert not path.exists()
    driver.unstage(handle)


@pytest.mark.parametrize("backend", ["directory", pytest.param("loop", marks=pytest.mark.needs("loop"))])
@pytest.mark.parametrize(("staged", "published"), [(("ro", "noexec"), ()), ((), ("ro",)), (("ro",), ("ro",))])
def test_a_read_only_target_can_be_published_again(
    driver: Driver, backend: str, staged: tuple[str, ...], published: tuple[str, ...]
) -> None:
    """A bind mount inherits the flags of its source mount; the repeated call is the same and succeeds."""
    handle = driver.create(size=16 << 20, backend=backend).volume_id
    driver.stage(handle, use=capability(flags=staged))
    for _ in range(2):
        path = driver.publish(handle, use=capability(flags=published))
    driver.unpublish(handle, path)
    driver.unstage(handle)


def _code(call: object) -> str:
    try:
        call()  # type: ignore[operator]
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("backend", ["directory", pytest.param("loop", marks=pytest.mark.needs("loop"))])
def test_a_volume_is_used_deleted_undeleted_and_purged(driver: Driver, backend: str) -> None:
    """After undelete the volume has its file again; after the purge nothing is left in the pool."""
    handle = driver.create(size=16 << 20, backend=backend).volume_id
    driver.stage(handle)
    path = driver.publish(handle)
    (path / "file").write_text("data", encoding="utf-8")
    assert _code(lambda: driver.delete(handle)) == "FAILED_PRECONDITION"
    assert _code(lambda: driver.unstage(handle)) == "FAILED_PRECONDITION"
    for _ in range(2):
        driver.unpublish(handle, path)
    for _ in range(2):
        driver.unstage(handle)
    for _ in range(2):
        driver.delete(handle)
    (entry,) = driver.inventory.ListTrash(inventory_pb2.ListTrashRequest()).entries
    assert entry.manifest.volume_id == handle

    driver.inventory.Undelete(inventory_pb2.UndeleteRequest(volume_id=handle))
    driver.stage(handle)
    path = driver.publish(handle, read_only=True)
    assert (path / "file").read_text(encoding="utf-8") == "data"
    with pytest.raises(OSError, match="Read-only"):
        (path / "file").write_text("x", encoding="utf-8")
    driver.unpublish(handle, path)
    driver.unstage(handle)
    driver.delete(handle)

    assert driver.inventory.Purge(inventory_pb2.PurgeRequest(all=True)).purged == 1
    assert [list((driver.pool / name).iterdir()) for name in ("volumes", "trash")] == [[], []]


def test_a_mount_of_another_volume_at_a_target_is_not_unmounted(driver: Driver) -> None:
    """The path of NodeUnpublishVolume does not identify the volume that is mounted there."""
    volume, other = driver.create("a").volume_id, driver.create("b").volume_id
    for handle in (volume, other):
        driver.stage(handle)
    path = driver.publish(other)

    with pytest.raises(grpc.RpcError) as refused:
        driver.unpublish(volume, path)

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    driver.unpublish(other, path)
    for handle in (volume, other):
        driver.unstage(handle)


def test_files_below_a_mount_point_are_never_removed(driver: Driver) -> None:
    """Without the mount the files below it are visible, and they are not the volume's."""
    handle = driver.create().volume_id
    target = driver.home / "target"
    target.mkdir()
    (target / "precious").write_text("x", encoding="utf-8")

    with pytest.raises(grpc.RpcError):
        driver.unpublish(handle, target)

    assert (target / "precious").exists()


def test_stats_have_bytes_and_inodes_only_where_the_volume_is_mounted(driver: Driver) -> None:
    """At any other path the code is NOT_FOUND."""
    handle = driver.create(size=1 << 20).volume_id
    driver.stage(handle)
    path = driver.publish(handle)
    (path / "file").write_bytes(b"x" * 10000)

    usage = driver.node.NodeGetVolumeStats(
        csi_pb2.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=str(path))
    ).usage
    assert (usage[0].total, usage[0].unit, usage[1].unit) == (
        1 << 20,
        csi_pb2.VolumeUsage.BYTES,
        csi_pb2.VolumeUsage.INODES,
    )
    assert usage[0].used >= 10000
    driver.unpublish(handle, path)
    with pytest.raises(grpc.RpcError) as refused:
        driver.node.NodeGetVolumeStats(csi_pb2.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=str(path)))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    driver.unstage(handle)
