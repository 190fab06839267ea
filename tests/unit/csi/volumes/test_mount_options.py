"""Mount options of a StorageClass are dropped, used or refused, and refused before a volume is created."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi.errors import InvalidArgument
from csi.host import filesystems, loopdev, mounts
from csi.host.locks import locked
from csi.volumes import mount_options
from csi.volumes.creation import check_capabilities
from csi.volumes.requests import Capability, Creation, Parameters
from tests.unit.csi.volumes.fake_backend import FakeBackend

KINDS = ["", *mount_options.ALLOWED]
FOR_PROGRAMS = ["_netdev", "nofail", "noauto", "x-systemd.device-timeout=10", "x-gvfs-hide", "comment=disk"]


@given(st.lists(st.sampled_from([*FOR_PROGRAMS, "ro", "noatime"])), st.booleans())
def test_options_for_programs_are_dropped_and_the_others_stay_in_order(options: list[str], joined: bool) -> None:
    """For any distribution of the options over words and commas."""
    given_as = [",".join(options)] if joined else options

    assert mount_options.effective(given_as) == tuple(each for each in options if each in {"ro", "noatime"})


def test_every_supported_filesystem_has_a_list_of_options() -> None:
    """No filesystem is without options, or without a limit on them."""
    assert set(mount_options.ALLOWED) == set(filesystems.KINDS)


@pytest.mark.parametrize("fs_type", KINDS)
@pytest.mark.parametrize(
    "option",
    [
        "errors=panic", "fatal_errors=panic", "fatal_errors=bug", "abort", "journal_path=/dev/vda", "journal_dev=8",
        "logdev=/dev/vda", "rtdev=/dev/vda", "device=/dev/vda", "loop=/dev/loop0", "subvol=/", "subvolid=5", "sb=1",
        "usrjquota=/etc/passwd", "norecovery", "noload", "rescue=all", "degraded", "bind", "remount", "rshared",
        "context=system_u:object_r:tmp_t:s0", "X-mount.mkdir", "nonsense", "ro\n", "commit=5\n", "commit=-1", "data=",
        "commit=", "=", "discard=x", "noatime=1", "nosuid ", "RO", "uid=0", "fd=3",
    ],
)  # fmt: skip
def test_what_is_dangerous_or_unknown_is_refused_by_name(fs_type: str, option: str) -> None:
    """On every filesystem, only the options of its list are possible."""
    assert f"{option!r} is not possible" in mount_options.refused(fs_type, [option])


@pytest.mark.parametrize("fs_type", KINDS)
def test_the_options_of_a_mount_are_possible_for_every_volume(fs_type: str) -> None:
    """They are flags of mount(2), or have no effect."""
    assert mount_options.refused(fs_type, sorted(mounts.PER_MOUNT | mounts.DEFAULTS)) == ""


@pytest.mark.limit("mount-options")
def test_a_volume_with_an_unknown_option_is_not_created() -> None:
    """CreateVolume reports it, so that the claim has the Event, and no pod waits for an impossible mount."""
    request = Creation("v", 1, 0, (Capability("mount", "SINGLE_NODE_WRITER", "", ("discard",)),), Parameters.parse({}))
    with pytest.raises(InvalidArgument, match="'discard' is not possible for a directory volume; possible are "):
        check_capabilities(request.capabilities, request, FakeBackend())


@pytest.mark.needs("root", "loop")
def test_the_kernel_accepts_every_known_flag(tmp_path: Path) -> None:
    """Each alone, on ext4 and where possible on a bind mount; none is passed on as an option of the filesystem."""
    image, disk, target = tmp_path / "image", tmp_path / "disk", tmp_path / "target"
    for path in (disk, target):
        path.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    with locked(image) as held:
        filesystems.create(held, fs_type="ext4", uuid="6e5b1b0e-4f6c-4a53-9d0b-1f5d2f3a7c11")
    for option in [*mounts.FLAGS, "commit=10", "data=journal", "errors=continue", "barrier=0", "journal_ioprio=3"]:
        with loopdev.attached(image, tag="mooring:options") as device:
            mounts.mount(str(device.path), disk, fs_type="ext4", options=[option])
        try:
            if option in mounts.PER_MOUNT:
                mounts.bind(disk, target, options=[option])
                found = mounts.at(target)
                assert found is not None
                assert option in found.options or option == "strictatime"
        finally:
            mounts.unmount(target)
            mounts.unmount(disk)
