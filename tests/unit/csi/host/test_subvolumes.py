"""Subvolumes are removed with any contents; a size is enforced only where nested subvolumes cannot exceed the limit."""

import errno
import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest

from csi.host import btrfs, files, quotas, subvolumes
from csi.host.errors import HostError
from tests.unit.csi.services.kinds import MIB, disk

DEPTH = 60
NAME = "d" * 100
FLAGS = 0x4008941A


def _create(name: str, parent: int) -> int:
    fcntl.ioctl(parent, subvolumes.SUBVOL_CREATE, bytearray(struct.pack("=q4088s", 0, name.encode())))
    return os.open(name, os.O_RDONLY, dir_fd=parent)


def _deeper(directory: int) -> int:
    """Create directories to a depth that no path can reach."""
    for _ in range(DEPTH):
        os.mkdir(NAME, dir_fd=directory)
        below = os.open(NAME, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    return directory


@pytest.mark.needs("root", "loop", "btrfs", "simple_quotas")
@pytest.mark.parametrize("read_only", [False, True])
def test_a_subvolume_is_removed_with_all_nested_ones_at_any_depth(tmp_path: Path, *, read_only: bool) -> None:
    """In directories with too long a path, in each other, and in ones that their owner made read-only."""
    with disk(tmp_path / "disk", "btrfs") as top:
        assert quotas.enable(top)
        volume_dir = top / "trash" / "v.1"
        volume_dir.mkdir(parents=True)
        subvolumes.create(volume_dir / "data", limit=256 * MIB)
        directory = os.open(volume_dir / "data", os.O_RDONLY)
        created = [os.dup(directory)]
        for number in range(3):
            deep = _deeper(directory)
            directory = _create(f"nested-{number}", deep)
            os.close(deep)
            created.append(os.dup(directory))
        created += [_create(f"beside-{number}", directory) for number in range(30)]
        os.close(directory)
        for each in created:
            if read_only:
                fcntl.ioctl(each, FLAGS, struct.pack("=Q", 2))
            os.close(each)
        root = os.open(top, os.O_RDONLY)
        try:
            files.remove_tree(top, volume_dir)
            assert list((top / "trash").iterdir()) == []
            assert list(btrfs.search(root, btrfs.ROOT_TREE, 5, btrfs.ROOT_REF)) == []
            os.sync()
            groups = Path(f"/sys/fs/btrfs/{btrfs.uuid_of(root)}/qgroups")
            assert [each.name for each in groups.glob("[01]_*")] == ["0_5"]
        finally:
            os.close(root)


@pytest.mark.needs("root", "loop", "btrfs", "simple_quotas")
def test_disabled_quotas_are_reported(tmp_path: Path) -> None:
    """The volume stays, and the error of its stats is that its size is not enforced."""
    with disk(tmp_path / "disk", "btrfs") as top:
        assert quotas.enable(top)
        assert quotas.enable(top), "a repeated call changes nothing"
        subvolumes.create(top / "data", limit=16 * MIB)
        subvolumes.create(top / "data", limit=32 * MIB)
        assert subvolumes.quota(top / "data").limit == 32 * MIB
        subprocess.run(["btrfs", "quota", "disable", str(top)], check=True)
        with pytest.raises(HostError, match="quotas were disabled"):
            subvolumes.quota(top / "data")
        descriptor = os.open(top, os.O_RDONLY)
        subvolumes.destroy("data", descriptor)
        os.close(descriptor)


@pytest.mark.parametrize("result", [errno.EINVAL, errno.EPERM, errno.ENOTTY, errno.EROFS, 0])
def test_without_simple_quotas_nothing_is_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: int
) -> None:
    """An older kernel, no permission, another filesystem, a read-only one, or a call that succeeds without effect."""

    def ioctl(descriptor: int, request: int, argument: bytes) -> int:
        assert (descriptor >= 0, request, argument[0]) == (True, quotas.QUOTA_CTL, 4)
        if result:
            raise OSError(result, os.strerror(result))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(quotas, "_mode", lambda _: "qgroup")
    assert not quotas.enable(tmp_path)
    assert not quotas.enable(tmp_path / "none")
