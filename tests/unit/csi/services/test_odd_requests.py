"""Unusual and invalid requests are refused with a code and a readable message, and change nothing."""

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
def test_a_message_is_printable_and_of_limited_length(text: str) -> None:
    """For any text of a caller: no control character, a limited length, and short printable text unchanged."""
    escaped = legible(text)

    assert escaped.isprintable()
    assert sent_bytes(escaped) <= limits.MESSAGE_BYTES
    assert escaped == text or not text.isprintable()


@pytest.mark.bound("message-bytes")
def test_a_long_message_is_cut_in_the_middle() -> None:
    """Its end has the next step."""
    escaped = legible(f"volume {'x' * 5000} does not exist; create it")

    assert limits.MESSAGE_BYTES - 8 <= sent_bytes(escaped) <= limits.MESSAGE_BYTES
    assert escaped.startswith("volume x")
    assert escaped.endswith("x does not exist; create it")
    for each in "\0é😀%":
        assert sent_bytes(legible(each * 9 * limits.MESSAGE_BYTES)) <= limits.MESSAGE_BYTES


def _code_of_call(method: Any, request: Any) -> str:
    """Return the code of a call."""
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


def test_long_and_odd_text_in_a_request_is_escaped_and_cut_in_response_and_log(driver: Driver) -> None:
    """The code of the refusal arrives; gRPC would replace it by another if the message were too long."""
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
def test_the_capabilities_of_a_request_are_limited(driver: Driver) -> None:
    """A million of them would delay every other call."""
    request = R.CreateVolumeRequest(name="v", volume_capabilities=[capability()] * MANY)
    validate = R.ValidateVolumeCapabilitiesRequest(volume_id=f"{POOL}.v", volume_capabilities=[capability()] * MANY)
    capacity = R.GetCapacityRequest(volume_capabilities=[capability()] * MANY)

    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.CreateVolume(request, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.ValidateVolumeCapabilities(validate, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.controller.GetCapacity(capacity, timeout=SECONDS))
    del request.volume_capabilities[-1]
    assert "OK" == code(lambda: driver.controller.CreateVolume(request, timeout=SECONDS))


@pytest.mark.bound("topologies")
def test_the_topologies_of_a_request_are_limited(driver: Driver) -> None:
    """The limit holds for requisite and preferred ones."""
    topologies = [R.Topology(segments={"topology.mooring.dev/node": "n"})] * (limits.TOPOLOGIES + 1)
    for requirement in (R.TopologyRequirement(requisite=topologies), R.TopologyRequirement(preferred=topologies)):
        request = R.CreateVolumeRequest(
            name="v", volume_capabilities=[capability()], accessibility_requirements=requirement
        )
        assert "INVALID_ARGUMENT" == _code_of_call(driver.controller.CreateVolume, request)


@pytest.mark.needs("root")
def test_two_spellings_of_a_path_are_the_same_path(driver: Driver) -> None:
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
def test_a_volume_is_not_published_at_its_staging_path_or_inside_a_volume(driver: Driver) -> None:
    """It could never be unstaged, or the other volume never be unmounted, and that would have an extra directory."""
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
def test_a_device_is_bound_only_over_a_regular_file(driver: Driver) -> None:
    """A device, a pipe or a socket belongs to another program, and could not be removed as a mount point."""
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
        code_found = _code_of_call(driver.node.NodePublishVolume, request)
        assert "FAILED_PRECONDITION" == code_found
    driver.unstage(handle)
    driver.delete(handle)


@pytest.mark.needs("root", "loop")
def test_options_that_a_program_or_the_kernel_refuses_are_an_error_of_the_caller(driver: Driver) -> None:
    """They are on the list of allowed options, but are invalid with this value, for this size, or in this combination."""
    with pytest.raises(grpc.RpcError) as refused:
        driver.create("a", size=16 * MIB, backend="loop", mkfsOptions="-b 17")
    assert "INVALID_ARGUMENT" == refused.value.code().name
    assert "mkfsOptions" in (refused.value.details() or "")
    assert [] == list((driver.pool / "volumes").iterdir())

    handle = driver.create("b", size=16 * MIB, backend="loop").volume_id
    use = capability(flags=["data=journal,delalloc"])
    code_found = code(lambda: driver.stage(handle, use=use))
    assert code_found == "FAILED_PRECONDITION"
    driver.stage(handle)
    driver.unstage(handle)
    driver.delete(handle)


@pytest.mark.needs("root")
def test_an_unusable_path_is_an_error_of_the_caller(driver: Driver) -> None:
    """A link to itself, a directory without write access, NUL: never INTERNAL, also when unpublishing and unstaging."""
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
        codes = {
            "publish": code(lambda: driver.node.NodePublishVolume(publish, timeout=SECONDS)),  # noqa: B023 # called at once
            "stage": code(lambda: driver.node.NodeStageVolume(stage, timeout=SECONDS)),  # noqa: B023 # as above
            "unpublish": code(lambda: driver.node.NodeUnpublishVolume(unpublish, timeout=SECONDS)),  # noqa: B023 # as above
            "unstage": code(lambda: driver.node.NodeUnstageVolume(unstage, timeout=SECONDS)),  # noqa: B023 # as above
            "stats": code(lambda: driver.node.NodeGetVolumeStats(stats, timeout=SECONDS)),  # noqa: B023 # as above
            "expand": code(lambda: driver.node.NodeExpandVolume(expand, timeout=SECONDS)),  # noqa: B023 # as above
        }
        assert {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"} >= set(codes.values()), (path, codes)
        assert "OK" not in {codes["publish"], codes["stage"], codes["stats"], codes["expand"]}, (path, codes)
    driver.unstage(handle)
    driver.delete(handle)


def test_negative_sizes_are_refused_by_every_call(driver: Driver) -> None:
    """Also by those that only compare the size."""
    handle = driver.create().volume_id
    negative = R.CapacityRange(required_bytes=-1)
    node_expand = R.NodeExpandVolumeRequest(volume_id=handle, volume_path="/x", capacity_range=negative)
    import_ = inventory_pb2.ImportRequest(name="i", item="x", required_bytes=-1)

    assert "INVALID_ARGUMENT" == code(lambda: driver.node.NodeExpandVolume(node_expand, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.inventory.Import(import_, timeout=SECONDS))
    assert "INVALID_ARGUMENT" == code(lambda: driver.expand(handle, -1))
    assert "INVALID_ARGUMENT" == code(lambda: driver.create("w", size=-1))


def test_undecodable_requests_do_not_end_the_driver(driver: Driver) -> None:
    """The gRPC library refuses them, and requests over its size limit."""
    with grpc.insecure_channel(f"unix://{driver.home}/csi.sock") as channel:
        call: Any = channel.unary_unary("/csi.v1.Controller/CreateVolume")
        assert "UNKNOWN" == code(lambda: call(b"\xff\xff\xff", timeout=SECONDS))
        assert "RESOURCE_EXHAUSTED" == code(lambda: call(b"\0" * (8 << 20), timeout=SECONDS))
    assert driver.identity.Probe(R.ProbeRequest(), timeout=SECONDS).ready.value
    assert Path(f"/proc/{driver.pid}").exists()


@pytest.mark.needs("root", "loop")
def test_a_mount_at_the_staging_path_of_a_raw_volume_is_not_unmounted(driver: Driver, tmp_path: Path) -> None:
    """The volume itself is not mounted there, so any mount there stays when the volume is unstaged."""
    handle = driver.create(use=raw(), size=8 * MIB, backend="loop").volume_id
    staging = tmp_path / f"staging-{handle.partition('.')[2]}"
    staging.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "other", str(staging)], check=True)
    try:
        driver.stage(handle, use=raw())
        for _ in range(2):
            driver.unstage(handle)
            assert os.path.ismount(staging)
        driver.delete(handle)
    finally:
        subprocess.run(["umount", str(staging)], check=True)


@pytest.mark.needs("root", "loop")
def test_a_later_mount_at_the_path_of_a_failed_stage_is_not_unmounted(driver: Driver, tmp_path: Path) -> None:
    """It was mounted by another program, so it is not the volume's."""
    handle = driver.create(size=16 * MIB, backend="loop").volume_id
    use = capability(flags=["data=journal,delalloc"])
    assert "FAILED_PRECONDITION" == code(lambda: driver.stage(handle, use=use))
    staging = tmp_path / f"staging-{handle.partition('.')[2]}"
    subprocess.run(["mount", "-t", "tmpfs", "other", str(staging)], check=True)
    try:
        assert "FAILED_PRECONDITION" == code(lambda: driver.unstage(handle))
        assert os.path.ismount(staging)
    finally:
        subprocess.run(["umount", str(staging)], check=True)
    driver.unstage(handle)
    driver.delete(handle)
