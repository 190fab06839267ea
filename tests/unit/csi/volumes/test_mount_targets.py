"""Mounts are made only at paths that belong to the caller, and only mount points of the driver are removed."""

import contextlib
import os

import pytest

from csi.errors import InvalidArgument
from csi.host.errors import AlreadyMountedError, HostError, UnsafePathError
from csi.volumes.requests import Capability, Publishing, Staging
from tests.unit.csi.services.kubelet import listening
from tests.unit.csi.volumes.pool_disk import MODE, VOLUME, PoolDisk, mounted, unmount

pytestmark = pytest.mark.needs("root")


async def test_a_path_that_was_never_a_target_is_not_removed(pool_disk: PoolDisk) -> None:
    """An unpublish removes only mount points that the driver created."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    await unmount(manager, pool_disk, handle)
    (pool_disk.base_dir / "file").write_text("precious", encoding="utf-8")
    (pool_disk.base_dir / "empty").touch()
    (pool_disk.base_dir / "folder").mkdir()
    (pool_disk.base_dir / "link").symlink_to(pool_disk.base_dir / "file")
    os.mkfifo(pool_disk.base_dir / "fifo")
    paths = [
        pool_disk.base_dir / name
        for name in ("file", "empty", "folder", "link", "fifo", "disk", "state", "disk/pool.json", "csi.sock")
    ]
    with contextlib.closing(listening(pool_disk.base_dir / "csi.sock")):
        for path in paths:
            with contextlib.suppress(UnsafePathError, AlreadyMountedError):
                await manager.unpublish(handle, str(path))

    assert [path for path in paths if not os.path.lexists(path)] == []
    assert pool_disk.pool.path.is_mount()
    await manager.stop()


@pytest.mark.parametrize("name", ["disk", "disk/volumes", "disk/volumes/VOLUME", "state", "."])
async def test_nothing_is_mounted_over_the_drivers_own_directories(pool_disk: PoolDisk, name: str) -> None:
    """Nor inside a pool, nor over a directory that contains one; the refusal leaves no mount."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    before = pool_disk.mounted()
    use, path = Capability("mount", MODE), str(pool_disk.base_dir / name.replace("VOLUME", VOLUME)).removesuffix("/.")
    with pytest.raises(InvalidArgument, match="driver's own"):
        await manager.publish(Publishing(handle, str(pool_disk.staging), path, use, read_only=False))
    await unmount(manager, pool_disk, handle)
    with pytest.raises(InvalidArgument, match="driver's own"):
        await manager.stage(Staging(handle, path, use))

    assert pool_disk.mounted() | {str(pool_disk.staging), str(pool_disk.target)} == before
    await manager.stop()


async def test_no_mount_follows_a_symbolic_link(pool_disk: PoolDisk) -> None:
    """It may lead to the driver's own directories; both calls refuse it, and nothing is mounted."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    before, use, link = pool_disk.mounted(), Capability("mount", MODE), pool_disk.base_dir / "link"
    link.symlink_to(pool_disk.pool.path)
    with pytest.raises(UnsafePathError):
        await manager.publish(Publishing(handle, str(pool_disk.staging), str(link), use, read_only=False))
    await unmount(manager, pool_disk, handle)
    with pytest.raises(InvalidArgument):
        await manager.stage(Staging(handle, str(link), use))

    assert pool_disk.mounted() | {str(pool_disk.staging), str(pool_disk.target)} == before
    assert link.is_symlink()
    await manager.stop()


async def test_a_mount_never_hides_files_and_a_refused_target_stays_as_it_is(pool_disk: PoolDisk) -> None:
    """A target that contains files is refused; the following unpublish removes nothing."""
    manager = pool_disk.manager(pool_disk.pool)
    handle = await mounted(manager, pool_disk)
    other = pool_disk.base_dir / "etc"
    other.mkdir()
    (other / "passwd").touch()
    with pytest.raises(UnsafePathError, match="not empty"):
        await manager.publish(
            Publishing(handle, str(pool_disk.staging), str(other), Capability("mount", MODE), read_only=False)
        )
    with pytest.raises(HostError):
        await manager.unpublish(handle, str(other))

    assert (other / "passwd").exists()
    await unmount(manager, pool_disk, handle)
    await manager.stop()
