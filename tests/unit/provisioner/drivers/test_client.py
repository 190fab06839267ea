"""Calls to a driver over a real socket: error classes, pages, a driver that is restarted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from csi.v1 import csi_pb2, csi_pb2_grpc, inventory_pb2, inventory_pb2_grpc
from provisioner.drivers.client import (
    DriverClient,
    DriverUnavailable,
    Expanded,
    RpcError,
    State,
    VolumeNotFoundError,
    VolumeRequest,
    capability,
)
from provisioner.model.names import HOLDER_CLAIM, HOLDER_NAMESPACE_UID

OWNER = {HOLDER_NAMESPACE_UID: "n1", HOLDER_CLAIM: "www-web-0"}
MOUNT = capability(modes=["ReadWriteOnce"], volume_mode="Filesystem", fs_type="", mount_flags=())


class _Controller(csi_pb2_grpc.ControllerServicer):
    """A Controller service that creates every volume, or responds with `code`."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.created: list[str] = []
        self.requests: list[Any] = []

    async def CreateVolume(  # noqa: N802
        self, request: csi_pb2.CreateVolumeRequest, context: Any
    ) -> csi_pb2.CreateVolumeResponse:
        """Create the volume, or refuse with `code`."""
        if self.code:
            await context.abort(self.code, "no")
        self.created.append(request.name)
        return csi_pb2.CreateVolumeResponse(volume=csi_pb2.Volume(volume_id=f"p.{request.name}", capacity_bytes=4096))

    async def ControllerExpandVolume(  # noqa: N802
        self, request: csi_pb2.ControllerExpandVolumeRequest, context: Any
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Record the request, or refuse with `code`."""
        if self.code:
            await context.abort(self.code, "no")
        self.requests.append(request)
        return csi_pb2.ControllerExpandVolumeResponse(node_expansion_required=True)

    async def ControllerModifyVolume(  # noqa: N802
        self, request: csi_pb2.ControllerModifyVolumeRequest, context: Any
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        """Record the request."""
        assert context
        self.requests.append(request)
        return csi_pb2.ControllerModifyVolumeResponse()

    async def DeleteVolume(  # noqa: N802
        self, request: csi_pb2.DeleteVolumeRequest, context: Any
    ) -> csi_pb2.DeleteVolumeResponse:
        """Refuse with `code`."""
        if self.code:
            await context.abort(self.code, f"no {request.volume_id}")
        return csi_pb2.DeleteVolumeResponse()


class _Inventory(inventory_pb2_grpc.InventoryServicer):
    """An Inventory service that lists its manifests, two per page."""

    def __init__(self) -> None:
        self.manifests: list[inventory_pb2.Manifest] = []

    async def ListManifests(  # noqa: N802
        self, request: inventory_pb2.ListManifestsRequest, context: Any
    ) -> inventory_pb2.ListManifestsResponse:
        """List two manifests per page."""
        assert context
        start = int(request.page_token or 0)
        next_page = str(start + 2) if start + 2 < len(self.manifests) else ""
        return inventory_pb2.ListManifestsResponse(
            manifests=self.manifests[start : start + 2], next_page_token=next_page
        )


class _Driver:
    """A driver with both services on one socket, which can be stopped and started."""

    def __init__(self, socket: Path) -> None:
        self.endpoint = f"unix://{socket}"
        self.controller, self.inventory = _Controller(), _Inventory()  # type: ignore[abstract]  # the rest is not called
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Start the server."""
        self._server = grpc.aio.server()
        csi_pb2_grpc.add_ControllerServicer_to_server(self.controller, self._server)
        inventory_pb2_grpc.add_InventoryServicer_to_server(self.inventory, self._server)
        self._server.add_insecure_port(self.endpoint)
        await self._server.start()

    async def stop(self) -> None:
        """Stop the server and close its connections."""
        if self._server:
            await self._server.stop(grace=None)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[_Driver]:
    """A running driver."""
    found = _Driver(tmp_path / "s")
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def client(driver: _Driver) -> AsyncIterator[DriverClient]:
    """A client of the driver."""
    found = DriverClient(driver.endpoint)
    yield found
    await found.close()


async def _create(client: DriverClient, *, node: str = "") -> str:
    desired = VolumeRequest(
        name="pvc-c2",
        required_bytes=4096,
        capabilities=[MOUNT],
        parameters=OWNER,
        mutable_parameters={"trashRetention": "1h"},
        node=node,
    )
    return (await client.create_volume(desired)).handle


def _manifest(name: str) -> inventory_pb2.Manifest:
    return inventory_pb2.Manifest(volume_id=f"p.{name}", csi_name=name, state="ready")


@pytest.mark.parametrize(
    ("code", "node", "state"),
    [
        (grpc.StatusCode.ABORTED, "", State.BACKGROUND),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", State.BACKGROUND),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "a", State.RESCHEDULE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", State.FINISHED),
        (grpc.StatusCode.INVALID_ARGUMENT, "", State.INFEASIBLE),
        (grpc.StatusCode.INTERNAL, "", State.FINISHED),
        (grpc.StatusCode.ALREADY_EXISTS, "", State.FINISHED),
    ],
)
async def test_codes_have_the_meaning_of_external_provisioner(
    driver: _Driver, client: DriverClient, code: grpc.StatusCode, node: str, state: State
) -> None:
    """Each code determines whether a volume may exist or a call may be in progress."""
    driver.controller.code = code
    with pytest.raises(RpcError) as caught:
        await _create(client, node=node)
    assert (code, state, "no") == (caught.value.code, caught.value.state, caught.value.message)


async def test_a_missing_volume_has_its_own_error_class(driver: _Driver, client: DriverClient) -> None:
    """NOT_FOUND is distinguished from other errors by its class."""
    driver.controller.code = grpc.StatusCode.NOT_FOUND
    with pytest.raises(VolumeNotFoundError, match=r"^no p\.x$"):
        await client.delete_volume("p.x")


async def test_all_pages_are_read(driver: _Driver, client: DriverClient) -> None:
    """A list is complete for any number of pages."""
    driver.inventory.manifests = [_manifest(f"v{number}") for number in range(5)]
    assert [f"v{number}" for number in range(5)] == [each.csi_name for each in await client.list_manifests()]


async def test_a_driver_that_was_restarted_is_reconnected(driver: _Driver, client: DriverClient) -> None:
    """While the driver is down, calls fail with DriverUnavailable; afterwards they succeed on the same client."""
    await driver.stop()
    with pytest.raises(DriverUnavailable):
        await client.list_manifests()
    await driver.start()
    async with asyncio.timeout(20):
        while True:
            try:
                assert [] == await client.list_manifests()
                break
            except DriverUnavailable:
                await asyncio.sleep(0.05)


async def test_changes_of_a_volume_carry_the_requested_values(driver: _Driver, client: DriverClient) -> None:
    """Expansion sends size and capability, modification the parameters; the default size is the requested one."""
    assert Expanded(8192, node_expansion_required=True) == await client.expand_volume(
        "p.v", required_bytes=8192, capability=MOUNT
    )
    await client.modify_volume("p.v", {"trashRetention": "2h"})
    expanded, modified = driver.controller.requests
    assert (8192, MOUNT) == (expanded.capacity_range.required_bytes, expanded.volume_capability)
    assert {"trashRetention": "2h"} == dict(modified.mutable_parameters)


@pytest.mark.parametrize(
    ("code", "final", "infeasible"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, True, True),
        (grpc.StatusCode.INVALID_ARGUMENT, True, True),
        (grpc.StatusCode.INTERNAL, True, False),
        (grpc.StatusCode.FAILED_PRECONDITION, True, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, False, False),
        (grpc.StatusCode.ABORTED, False, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, False, False),
    ],
)
async def test_a_refused_change_shows_whether_it_may_be_in_progress(
    driver: _Driver, client: DriverClient, code: grpc.StatusCode, final: bool, infeasible: bool
) -> None:
    """The codes have external-resizer's meaning: only after a final error may another change be requested."""
    driver.controller.code = code
    with pytest.raises(RpcError) as caught:
        await client.expand_volume("p.v", required_bytes=8192, capability=MOUNT)
    assert (final, infeasible) == (caught.value.final, caught.value.infeasible)


async def test_a_size_that_csi_cannot_hold_is_out_of_range(client: DriverClient) -> None:
    """A quantity may have any size; one that is too large is an infeasible RpcError with a message."""
    with pytest.raises(RpcError, match="is larger than any volume can be; request less") as caught:
        await client.expand_volume("p.v", required_bytes=10**30, capability=MOUNT)
    assert caught.value.infeasible
