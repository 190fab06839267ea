"""Mutable parameters of a volume, sharing, and the options of its filesystem."""

import subprocess
from pathlib import Path

import grpc
import msgspec
import pytest

from csi.v1 import csi_pb2, inventory_pb2
from csi.volumes.mkfs_options import refused_option
from tests.unit.csi.services.driver import SECONDS, Driver, capability, code
from tests.unit.csi.services.kinds import BTRFS, EXT4, MIB, XFS, Kind, each, serving


def _modify(driver: Driver, handle: str, **parameters: str) -> str:
    request = csi_pb2.ControllerModifyVolumeRequest(volume_id=handle, mutable_parameters=parameters)
    return code(lambda: driver.controller.ControllerModifyVolume(request, timeout=SECONDS))


def _mutable(driver: Driver) -> object:
    manifest = driver.pool / "volumes/v/manifest.json"
    return msgspec.json.decode(manifest.read_bytes())["mutable_parameters"]


def test_only_known_parameters_change_and_an_invalid_one_changes_none(driver: Driver) -> None:
    """An absent key keeps its value; an empty map is valid; the change is durable and applies to the trash."""
    handle = driver.create().volume_id

    assert _modify(driver, handle, trashRetention="2h") == "OK"
    assert _modify(driver, handle) == "OK"
    assert _modify(driver, handle, trashRetention="1h", sise="3") == "INVALID_ARGUMENT"
    assert _modify(driver, handle, trashRetention="soon") == "INVALID_ARGUMENT"
    assert _mutable(driver) == {"trashRetention": "2h"}
    driver.end()
    driver.start()
    assert _modify(driver, handle, trashRetention="1h") == "OK"
    driver.delete(handle)
    (entry,) = driver.inventory.ListTrash(_all_trash()).entries
    assert entry.purge_after.seconds - entry.deleted.seconds == 3600


def _all_trash() -> inventory_pb2.ListTrashRequest:

    return inventory_pb2.ListTrashRequest()


def test_mutable_parameters_at_creation_override_those_of_the_class(driver: Driver) -> None:
    """A repeated creation with them returns the same volume."""
    request = csi_pb2.CreateVolumeRequest(
        name="v",
        volume_capabilities=[capability()],
        parameters={"trashRetention": "24h"},
        mutable_parameters={"trashRetention": "1h"},
    )
    for _ in range(2):
        driver.controller.CreateVolume(request, timeout=SECONDS)

    assert _mutable(driver) == {"trashRetention": "1h"}


def test_fs_groups_are_left_to_kubelet(driver: Driver) -> None:
    """Kubelet applies fsGroupChangePolicy and does not pass it to drivers, so the driver does not offer VOLUME_MOUNT_GROUP."""
    response = driver.node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest(), timeout=SECONDS)
    kind = csi_pb2.NodeServiceCapability.RPC

    assert kind.VOLUME_MOUNT_GROUP not in {each.rpc.type for each in response.capabilities}


@each(EXT4)
def test_mount_flags_are_applied_or_refused(tmp_path: Path, kind: Kind) -> None:
    """A flag that no filesystem knows is an error that names it; nothing stays mounted."""
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver)
        with pytest.raises(grpc.RpcError) as refused:
            driver.stage(handle, use=capability(flags=["nonsense"]))
        assert "nonsense" in str(refused.value.details())
        staging = driver.stage(handle, use=capability(flags=["noatime", "data=journal"]))
        (line,) = [each for each in Path("/proc/self/mountinfo").read_text().splitlines() if f" {staging} " in each]

        assert "noatime" in line
        assert "data=journal" in line
        assert code(lambda: driver.stage(handle, use=capability(flags=["nodev"]))) == "ALREADY_EXISTS"
        driver.unstage(handle)


@pytest.mark.parametrize(
    ("options", "expected"),
    [("-i 65536 -m 2", "Inode size"), ("-b 1024", "Block size:               1024")],
)
@pytest.mark.needs("root", "loop")
def test_options_of_mkfs_are_applied(driver: Driver, options: str, expected: str) -> None:
    """They are parameters of the class."""
    driver.create(size=64 * MIB, backend="loop", mkfsOptions=options)
    image = driver.pool / "volumes/v/image"
    found = subprocess.run(["dumpe2fs", "-h", str(image)], check=True, capture_output=True, text=True)

    assert expected in found.stdout


@pytest.mark.parametrize(
    ("fs_type", "options", "expected"),
    [
        ("ext4", ["-d", "/etc"], "-d is not an option"),
        ("ext4", ["-O", "^has_journal"], ""),
        ("ext4", ["-i"], "needs a value"),
        ("ext4", ["-i", "-b"], "needs a value"),
        ("ext4", ["-J", "device=/dev/vda"], "names a file"),
        ("xfs", ["-d", "name=/dev/vda"], "names a file"),
        ("xfs", ["-d", "file"], "names a file"),
        ("xfs", ["-l", "logdev=vda"], "names a file"),
        ("xfs", ["-m", "uuid=1"], "identity"),
        ("xfs", ["-m", "reflink=0", "-i", "size=1024"], ""),
        ("btrfs", ["-M", "-n", "4096"], ""),
        ("btrfs", ["--rootdir", "x"], "is not an option"),
        ("", ["-i", "1"], "no filesystem"),
        ("", [], ""),
    ],
)
def test_no_option_of_mkfs_can_name_a_file(fs_type: str, options: list[str], expected: str) -> None:
    """The programs run as root: a class may set options of a filesystem, not read or write the node's files."""
    found = refused_option(fs_type, options)

    assert (expected in found) if expected else (found == "")


@each(XFS, BTRFS)
def test_options_of_mkfs_are_applied_to_other_filesystems_too(tmp_path: Path, kind: Kind) -> None:
    """The volume can be staged afterwards."""
    options = {"loop/xfs": "-i size=1024", "loop/btrfs": "-n 4096 -m single"}[kind.name]
    with serving(tmp_path, kind) as driver:
        handle = kind.create(driver, mkfsOptions=options)
        driver.stage(handle)
        driver.unstage(handle)


@pytest.mark.needs("root")
def test_a_name_of_128_bytes_is_a_volume_like_any_other(driver: Driver) -> None:
    """It is created once for repeated requests, and its handle does not exceed the limit."""
    name = "é" * 64
    volume = driver.create(name)

    assert len(name.encode()) == 128
    assert driver.create(name).volume_id == volume.volume_id
    assert len(volume.volume_id) <= 128
    driver.stage(volume.volume_id)
    driver.unstage(volume.volume_id)
    driver.delete(volume.volume_id)
