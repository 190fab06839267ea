"""What no careful caller sends is refused with a code and a message that a person can read, and changes nothing."""

import os
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi import limits
from csi.services.edge import legible, sent_bytes
from csi.v1 import csi_pb2, inventory_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, capability, code, raw

R = csi_pb2
MIB = 1 << 20
POOL = "11111111-1111-1111-1111-111111111111"
MANY = limits.CAPABILITIES + 1


@given(st.text())
def test_a_message_can_be_printed_and_has_an_end(text: str) -> None:
    """Whatever a caller wrote: no control character, a bounded length, and short printable text as it is."""
    escaped = legible(text)

    assert escaped.isprintable()
    assert sent_bytes(escaped) <= limits.MESSAGE_BYTES
    assert escaped == text or not text.isprintable()


@pytest.mark.bound("message-bytes")
def test_of_a_long_message_beginning_and_end_are_kept() -> None:
    """The end says what to do."""
    escaped = legible(f"volume {'x' * 5000} does not exist; make it")

    assert limits.MESSAGE_BYTES - 8 <= sent_bytes(escaped) <= limits.MESSAGE_BYTES
    assert escaped.startswith("volume x")
    assert escaped.endswith("x does not exist; make it")
    for each in "\0é😀%":
        assert sent_bytes(legible(each * 9 * limits.MESSAGE_BYTES)) <= limits.MESSAGE_BYTES


def _code_of_call(method: Any, request: Any) -> str:
    """The code that a call is answered with."""
    return code(lambda: method(request, timeout=SECONDS))


LONG: dict[str, tuple[str, str, Any]] = {
    "an unknown parameter": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability()], parameters={"é" * 2000: ""})),
    "a filesystem": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(fs_type="ü" * 500_000)], parameters={"backend": "loop"})),
    "a mount option": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(flags=["\x1b" * 4000])])),
    "nodes": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability()], accessibility_requirements=R.TopologyRequirement(requisite=[R.Topology(segments={"topology.mooring.dev/node": "m" * 200})] * 900))),
    "a handle": ("inventory", "Undelete", inventory_pb2.UndeleteRequest(volume_id="\n" * 100)),
    "an item": ("inventory", "Import", inventory_pb2.ImportRequest(name="v", item="\x85" * 1_000_000)),
    "a pool": ("inventory", "Import", inventory_pb2.ImportRequest(name="v", item="x", pool="\x00" * 1_000_000)),
}  # fmt: skip


def test_long_and_odd_text_in_a_request_reaches_neither_answer_nor_log_as_it_is(driver: Driver) -> None:
    """The code of the refusal arrives, which gRPC replaces by another where the message is too long."""
    for case, (service, method, request) in LONG.items():
        with pytest.raises(grpc.RpcError) as refused:
            getattr(getattr(driver, service), method)(request, timeout=SECONDS)
        message = refused.value.details() or ""
        assert refused.value.code().name in {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}, case
        assert "metadata" not in message, case
        assert message.isprintable(), case
        assert sent_bytes(message) <= limits.MESSAGE_BYTES, case
    lines = driver.log.read_text(encoding="utf-8").splitlines()
    assert max(len(line) for line in lines) < 4 * limits.MESSAGE_BYTES


@pytest.mark.bound("capabilities")
def test_a_request_has_so_many_capabilities_at_the_most(driver: Driver) -> None:
    """Looking at a million of them would hold up every other call."""
    request = R.CreateVolumeRequest(name="v", volume_capabilities=[capability()] * MANY)
    validate = R.ValidateVolumeCapabilitiesRequest(volume_id=f"{POOL}.v", volume_capabilities=[capability()] * MANY)
    capacity = R.GetCapacityRequest(volume_capabilities=[capability()] * MANY)

    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.CreateVolume(request, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.ValidateVolumeCapabilities(validate, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.GetCapacity(capacity, timeout=SECONDS))
    del request.volume_capabilities[-1]
    assert "OK" == code(lambda: driver.controller.CreateVolume(request, timeout=SECONDS))


@pytest.mark.bound("topologies")
def test_a_request_has_so_many_topologies_at_the_most(driver: Driver) -> None:
    """Requisite and preferred ones alike."""
    topologies = [R.Topology(segments={"topology.mooring.dev/node": "n"})] * (limits.TOPOLOGIES + 1)
    for requirement in (R.TopologyRequirement(requisite=topologies), R.TopologyRequirement(preferred=topologies)):
        request = R.CreateVolumeRequest(
            name="v", volume_capabilities=[capability()], accessibility_requirements=requirement
        )
        assert "INVALID_ARGUMENT" == _code_of_call(driver.controller.CreateVolume, request)


@pytest.mark.needs("root")
def test_one_path_written_in_two_ways_is_one_path(driver: Driver) -> None:
    """Double slashes, single dots and a slash at the end change nothing."""
    handle = driver.create().volume_id
    staging = driver.stage(handle)
    odd = f"{str(staging).replace('/', '//')}/./"
    again = R.NodeStageVolumeRequest(volume_id=handle, staging_target_path=odd, volume_capability=capability())
    driver.node.NodeStageVolume(again, timeout=SECONDS)
    driver.node.NodeUnstageVolume(
        R.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=odd), timeout=SECONDS
    )

    assert not os.path.ismount(staging)
    driver.delete(handle)


@pytest.mark.needs("root")
def test_a_volume_is_not_published_at_its_staging_path_or_among_the_files_of_a_volume(driver: Driver) -> None:
    """Else it could never be unstaged, or the other one never be unmounted, and would have a directory more."""
    first, second = driver.create("a").volume_id, driver.create("b").volume_id
    staging = driver.stage(first)
    driver.stage(second)
    link = driver.home / "link"
    link.symlink_to(staging)
    for handle, target in ((first, staging), (first, staging / "x"), (second, staging / "x"), (second, link / "x")):
        request = R.NodePublishVolumeRequest(
            volume_id=handle,
            staging_target_path=str(driver.home / f"staging-{handle.partition('.')[2]}"),
            target_path=str(target),
            volume_capability=capability(),
        )
        assert "INVALID_ARGUMENT" == _code_of_call(driver.node.NodePublishVolume, request)
    assert [] == list(staging.iterdir())
    for handle in (first, second):
        driver.unstage(handle)
        driver.delete(handle)


@pytest.mark.needs("root", "loop")
def test_a_device_is_not_bound_over_what_is_no_plain_file(driver: Driver) -> None:
    """A device, a pipe or a socket there is somebody's, and could never be removed again as a mount point."""
    handle = driver.create(use=raw(), size=8 * MIB, backend="loop").volume_id
    driver.stage(handle, use=raw())
    os.mkfifo(driver.home / "target-fifo-x")
    for target in ("/dev/null", str(driver.home / "target-fifo-x"), str(driver.home / "csi.sock")):
        request = R.NodePublishVolumeRequest(
            volume_id=handle,
            staging_target_path=str(driver.home / f"staging-{handle.partition('.')[2]}"),
            target_path=target,
            volume_capability=raw(),
        )
        answer = _code_of_call(driver.node.NodePublishVolume, request)
        assert "FAILED_PRECONDITION" == answer
    driver.unstage(handle)
    driver.delete(handle)


@pytest.mark.needs("root", "loop")
def test_options_that_a_program_or_the_kernel_does_not_take_are_the_callers_mistake(driver: Driver) -> None:
    """They are on the list of those that are possible, but not with this value, for this size, or together."""
    with pytest.raises(grpc.RpcError) as refused:
        driver.create("a", size=16 * MIB, backend="loop", mkfsOptions="-b 17")
    assert "INVALID_ARGUMENT" == refused.value.code().name
    assert "mkfsOptions" in (refused.value.details() or "")
    assert [] == list((driver.pool / "volumes").iterdir())

    handle = driver.create("b", size=16 * MIB, backend="loop").volume_id
    use = capability(flags=["data=journal,delalloc"])
    answer = code(lambda: driver.stage(handle, use=use))
    assert answer == "FAILED_PRECONDITION"
    driver.stage(handle)
    driver.unstage(handle)
    driver.delete(handle)


@pytest.mark.needs("root")
def test_a_path_that_cannot_be_used_is_refused_as_the_callers(driver: Driver) -> None:
    """A link to itself, a place where nothing can be made, NUL: never INTERNAL, also where it is taken away."""
    handle = driver.create().volume_id
    staging = driver.stage(handle)
    circle = driver.home / "circle"
    circle.symlink_to("circle")
    for path in (
        f"{circle}/x",
        str(circle),
        "/proc/mooring",
        "/sys/mooring",
        f"{driver.home}/x\0y",
        "/proc/self/attr/x",
    ):
        publish = R.NodePublishVolumeRequest(
            volume_id=handle, staging_target_path=str(staging), target_path=path, volume_capability=capability()
        )
        stage = R.NodeStageVolumeRequest(volume_id=handle, staging_target_path=path, volume_capability=capability())
        unpublish = R.NodeUnpublishVolumeRequest(volume_id=handle, target_path=path)
        unstage = R.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=path)
        stats = R.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=path)
        expand = R.NodeExpandVolumeRequest(volume_id=handle, volume_path=path)
        answers = {
            "publish": code(lambda: driver.node.NodePublishVolume(publish, timeout=SECONDS)),  # noqa: B023 # called at once
            "stage": code(lambda: driver.node.NodeStageVolume(stage, timeout=SECONDS)),  # noqa: B023 # as above
            "unpublish": code(lambda: driver.node.NodeUnpublishVolume(unpublish, timeout=SECONDS)),  # noqa: B023 # as above
            "unstage": code(lambda: driver.node.NodeUnstageVolume(unstage, timeout=SECONDS)),  # noqa: B023 # as above
            "stats": code(lambda: driver.node.NodeGetVolumeStats(stats, timeout=SECONDS)),  # noqa: B023 # as above
            "expand": code(lambda: driver.node.NodeExpandVolume(expand, timeout=SECONDS)),  # noqa: B023 # as above
        }
        assert {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"} >= set(answers.values()), (path, answers)
        assert "OK" not in {answers["publish"], answers["stage"], answers["stats"], answers["expand"]}, (path, answers)
    driver.unstage(handle)
    driver.delete(handle)


def test_sizes_below_nothing_are_refused_by_every_call(driver: Driver) -> None:
    """Also where the size is only compared."""
    handle = driver.create().volume_id
    negative = R.CapacityRange(required_bytes=-1)
    node_expand = R.NodeExpandVolumeRequest(volume_id=handle, volume_path="/x", capacity_range=negative)
    import_ = inventory_pb2.ImportRequest(name="i", item="x", required_bytes=-1)

    assert "INVALID_ARGUMENT" == code(lambda: driver.node.NodeExpandVolume(node_expand, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.inventory.Import(import_, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.expand(handle, -1))
    assert "INVALID_ARGUMENT" == code(lambda: driver.create("w", size=-1))


def test_bytes_that_are_no_request_end_no_driver(driver: Driver) -> None:
    """What cannot be decoded is refused by gRPC itself, and one that is larger than it takes."""
    with grpc.insecure_channel(f"unix://{driver.home}/csi.sock") as channel:
        call: Any = channel.unary_unary("/csi.v1.Controller/CreateVolume")
        assert "UNKNOWN" == code(lambda: call(b"\xff\xff\xff", timeout=SECONDS))
        assert "RESOURCE_EXHAUSTED" == code(lambda: call(b"\0" * (8 << 20), timeout=SECONDS))
    assert driver.identity.Probe(R.ProbeRequest(), timeout=SECONDS).ready.value
    assert Path(f"/proc/{driver.pid}").exists()


@pytest.mark.needs("root", "loop")
def test_what_is_mounted_at_the_staging_path_of_a_raw_volume_is_left_alone(driver: Driver, tmp_path: Path) -> None:
    """Nothing of the volume is mounted there, so whatever is stays when it is unstaged."""
    handle = driver.create(use=raw(), size=8 * MIB, backend="loop").volume_id
    staging = tmp_path / f"staging-{handle.partition('.')[2]}"
    staging.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "theirs", str(staging)], check=True)
    try:
        driver.stage(handle, use=raw())
        for _ in range(2):
            driver.unstage(handle)
            assert os.path.ismount(staging)
        driver.delete(handle)
    finally:
        subprocess.run(["umount", str(staging)], check=True)


@pytest.mark.needs("root", "loop")
def test_a_mount_that_never_came_is_not_taken_for_the_volumes_later(driver: Driver, tmp_path: Path) -> None:
    """After a stage that failed, what somebody else mounts there is left alone."""
    handle = driver.create(size=16 * MIB, backend="loop").volume_id
    use = capability(flags=["data=journal,delalloc"])
    assert "FAILED_PRECONDITION" == code(lambda: driver.stage(handle, use=use))
    staging = tmp_path / f"staging-{handle.partition('.')[2]}"
    subprocess.run(["mount", "-t", "tmpfs", "theirs", str(staging)], check=True)
    try:
        assert "FAILED_PRECONDITION" == code(lambda: driver.unstage(handle))
        assert os.path.ismount(staging)
    finally:
        subprocess.run(["umount", str(staging)], check=True)
    driver.unstage(handle)
    driver.delete(handle)
