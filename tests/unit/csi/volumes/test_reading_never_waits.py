"""Probe, lists and capacity respond while every worker is busy."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio

from csi.services.controller import Controller
from csi.services.identity import Identity
from csi.services.inventory import Inventory
from csi.v1 import csi_pb2, csi_pb2_grpc, inventory_pb2, inventory_pb2_grpc
from tests.unit.csi.services.driver import capability
from tests.unit.csi.volumes.fake_backend import creation, manager_of


async def test_read_only_calls_respond_while_all_workers_are_blocked(tmp_path: Path) -> None:
    """A blocked disk does not look like a dead driver; a deadline ends the waiting and not the work."""
    manager, backend = manager_of(tmp_path / "p", capacity=4 << 30, workers=1)
    ready = await manager.create(creation("ready"))
    await manager.delete((await manager.create(creation("gone"))).manifest.handle)
    server = grpc.aio.server()
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)
    csi_pb2_grpc.add_ControllerServicer_to_server(Controller(manager), server)  # type: ignore[abstract]
    inventory_pb2_grpc.add_InventoryServicer_to_server(Inventory(manager), server)
    server.add_insecure_port(f"unix://{tmp_path}/s.sock")
    await server.start()
    backend.allowed.clear()
    backend.started.clear()
    try:
        async with grpc.aio.insecure_channel(f"unix://{tmp_path}/s.sock") as channel:
            controller = csi_pb2_grpc.ControllerStub(channel)
            request = csi_pb2.CreateVolumeRequest(name="stuck", volume_capabilities=[capability()])
            stuck = asyncio.ensure_future(_code(controller.CreateVolume(request, timeout=0.5)))
            while not backend.started.is_set():
                await asyncio.sleep(0.01)
            inventory = inventory_pb2_grpc.InventoryStub(channel)
            assert (await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=5)).ready.value
            assert len((await controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=5)).entries) == 1
            assert (await controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=5)).available_capacity > 0
            get = csi_pb2.ControllerGetVolumeRequest(volume_id=ready.manifest.handle)
            assert (await controller.ControllerGetVolume(get, timeout=5)).volume.volume_id == get.volume_id
            assert len((await inventory.ListPools(inventory_pb2.ListPoolsRequest(), timeout=5)).pools) == 1
            assert len((await inventory.ListTrash(inventory_pb2.ListTrashRequest(), timeout=5)).entries) == 1
            assert await stuck == "DEADLINE_EXCEEDED"
            other = csi_pb2.CreateVolumeRequest(
                name="stuck", volume_capabilities=[capability()], parameters={"trashRetention": "1h"}
            )
            assert await _code(controller.CreateVolume(other, timeout=5)) == "ABORTED"
            joined = asyncio.ensure_future(_code(controller.CreateVolume(request, timeout=20)))
            await asyncio.sleep(0)
            backend.allowed.set()
            assert await joined == "OK"
    finally:
        backend.allowed.set()
        await server.stop(5)
        await manager.stop()


async def _code(call: "grpc.aio.UnaryUnaryCall[csi_pb2.CreateVolumeRequest, csi_pb2.CreateVolumeResponse]") -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"
