"""Operations that a system call can do start no program, and others start at most one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from csi.backends import teardown
from csi.backends.directory import Directory
from csi.backends.loop import Loop
from csi.backends.mount_facts import Identity
from csi.backends.protocol import Backend, Shape
from csi.backends.teardown import Removal
from csi.host import commands, filesystems, loopdev
from csi.host.errors import LoopDeviceError

MIB = 1 << 20
UUID = "6e5b1b0e-4f6c-4a53-9d0b-1f5d2f3a7c11"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were started in the test."""
    seen: list[str] = []

    def run(argv: Sequence[str], **options: Any) -> commands.Completed:
        seen.append(argv[0])
        return commands.run(argv, **options)

    monkeypatch.setattr(filesystems, "run", run)
    return seen


@pytest.mark.needs("root", "loop")
@pytest.mark.parametrize(
    ("backend", "shape", "programs"),
    [
        (Loop(), Shape("p.v", 16 * MIB, "mount", "ext4", UUID, "thin", enforced=True), ["mkfs.ext4"]),
        (Loop(), Shape("p.v", 16 * MIB, "mount", "ext4", UUID, "thick", enforced=True), ["mkfs.ext4"]),
        (Loop(), Shape("p.v", 16 * MIB, "block", "", "", "thin", enforced=True), []),
        (Directory(), Shape("p.v", 16 * MIB, "mount", "", "", "thin", enforced=False), []),
    ],
    ids=["loop", "thick loop", "raw loop", "directory"],
)
def test_only_the_creation_of_a_filesystem_starts_a_program(
    tmp_path: Path, started: list[str], backend: Backend, shape: Shape, programs: list[str]
) -> None:
    """Attach, mount, bind, usage, health and their opposites are system calls."""
    volume_dir, staging, target = tmp_path / "volume", tmp_path / "staging", tmp_path / "target"
    volume_dir.mkdir()
    staging.mkdir()
    backend.create(volume_dir, shape)
    assert started == programs
    started.clear()
    backend.stage(volume_dir, shape, staging=staging, mount_flags=[])
    backend.publish(volume_dir, shape, staging=staging, target=target, read_only=False, mount_flags=[])
    backend.usage(volume_dir, shape, path=target)
    backend.health_issues(volume_dir, shape, path=staging)
    volume = Identity(shape.volume_id, volume_dir.name, volume_dir)
    teardown.unpublish(Removal(volume, target))
    teardown.unstage(Removal(volume, staging), mounted=True, devices=backend.name == "loop")
    backend.detach(volume_dir, shape)

    assert started == []


@pytest.mark.needs("root", "loop")
def test_an_error_reports_that_no_loop_device_is_free_and_nothing_stays_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes may take every free number first: after some attempts that is an error, and no other's device is used."""
    image = tmp_path / "image"
    image.touch()
    image.write_bytes(bytes(MIB))
    with loopdev.attached(image, tag="other") as attached:
        number = int(attached.path.name.removeprefix("loop"))
        monkeypatch.setattr(loopdev, "_free_number", lambda: number)
        with (
            pytest.raises(LoopDeviceError, match="taken by another process"),
            loopdev.attached(image, tag="mooring:test"),
        ):
            pass

        assert loopdev.loop_at(attached.path) == attached
        assert loopdev.tagged("mooring:test") == []
