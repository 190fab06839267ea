"""The volume of a line of the mount table is decided from the line and the pool's location only."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from csi.backends.mount_facts import Identity, Match, loop_number, match_directory
from csi.host.mounts import Location, Mount

IDS = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
ROOTS = st.sampled_from(["", "/pool", "/a b/pool", "/volumes/x/data"])
DEVICES = st.tuples(st.integers(0, 300), st.integers(0, 300))


def _mount(root: str, device: tuple[int, int] = (8, 1), *, fs_type: str = "ext4", source: str = "/dev/sda1") -> Mount:
    return Mount(1, device, root, Path("/target"), frozenset(), fs_type, source, frozenset())


def _volume(volume_id: str) -> Identity:
    return Identity(f"11111111-1111-1111-1111-111111111111.{volume_id}", volume_id, None)


@given(IDS, ROOTS, DEVICES)
def test_a_directory_matches_exactly_only_at_the_current_location_of_its_pool(
    volume_id: str, root: str, device: tuple[int, int]
) -> None:
    """On another device, removed, or without its pool it only names the volume: likely, enough to unmount it."""
    volume_dir = f"{root}/volumes/{volume_id}"
    volume, location, data = _volume(volume_id), Location(device, volume_dir), f"{volume_dir}/data"

    assert match_directory(_mount(data, device), volume, location) is Match.EXACT
    assert match_directory(_mount(data, (device[0] + 1, device[1])), volume, location) is Match.LIKELY
    assert match_directory(_mount(f"{data}//deleted", device), volume, location) is Match.LIKELY
    assert match_directory(_mount(data, device), volume, None) is Match.LIKELY


@given(IDS, IDS, ROOTS)
def test_no_other_directory_matches(volume_id: str, other: str, root: str) -> None:
    """Neither another volume's directory, nor one inside the volume, nor the directory above it."""
    volume_dir = f"{root}/volumes/{volume_id}"
    location = Location((8, 1), volume_dir)
    others = [
        volume_dir,
        f"{volume_dir}/data/sub",
        f"{volume_dir}/data2",
        f"{root}/volumes/{other}x/data",
        f"{root}/trash/{volume_id}.1/data",
    ]

    for each in others:
        if each != f"{volume_dir}/data":
            assert match_directory(_mount(each), _volume(volume_id), location) is Match.NONE


@given(st.integers(0, 9_999_999))
def test_a_loop_device_is_found_in_every_kind_of_mount(number: int) -> None:
    """As a filesystem's device, as the source of a btrfs, and bound as a device, also after its node was removed."""
    assert loop_number(_mount("/", (7, number))) == number
    assert loop_number(_mount("/", (0, 40), fs_type="btrfs", source=f"/dev/loop{number}")) == number
    for root in (f"/loop{number}", f"/loop{number}//deleted"):
        assert loop_number(_mount(root, (0, 5), fs_type="devtmpfs", source="devtmpfs")) == number
    assert loop_number(_mount(f"/loop{number}/data", (0, 5), fs_type="devtmpfs", source="devtmpfs")) is None


@given(st.integers(0, 9_999_999))
def test_a_directory_in_a_tmpfs_of_a_pod_is_no_loop_device(number: int) -> None:
    """A pod may give a directory in memory any name, and kubelet binds it: only /dev has devices."""
    assert loop_number(_mount(f"/loop{number}", (0, 999_999), fs_type="tmpfs", source="tmpfs")) is None
    assert loop_number(_mount("/", (8, 1))) is None
