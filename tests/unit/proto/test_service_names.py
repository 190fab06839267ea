"""The names and numbers of Mooring's own service, and of the one that kubelet calls, do not change."""

from pathlib import Path

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from csi.v1 import inventory_pb2, registration_pb2, registration_pb2_grpc
from tests.unit.proto import wire_facts

Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
"""A method that takes and returns serialized messages."""

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "descriptor"),
    [("inventory", inventory_pb2.DESCRIPTOR), ("registration", registration_pb2.DESCRIPTOR)],
)
def test_the_interface_is_the_recorded_one(name: str, descriptor: FileDescriptor) -> None:
    """Client and server may have different versions: published elements stay, and additions are recorded on purpose."""
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)

    assert wire_facts.render(wire_facts.of(file)) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


class Registration(registration_pb2_grpc.RegistrationServicer):
    """A plugin as kubelet expects it, which records the errors of NotifyRegistrationStatus."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    async def GetInfo(  # noqa: N802 -- the protocol's name
        self,
        request: registration_pb2.InfoRequest,  # noqa: ARG002 -- it is empty
        context: grpc.aio.ServicerContext[registration_pb2.InfoRequest, registration_pb2.PluginInfo],  # noqa: ARG002
    ) -> registration_pb2.PluginInfo:
        """Return the plugin's type, name and endpoint."""
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name="csi.mooring.dev", endpoint="/csi.sock", supported_versions=["1.0.0"]
        )

    async def NotifyRegistrationStatus(  # noqa: N802 -- the protocol's name
        self,
        request: registration_pb2.RegistrationStatus,
        context: grpc.aio.ServicerContext[  # noqa: ARG002
            registration_pb2.RegistrationStatus, registration_pb2.RegistrationStatusResponse
        ],
    ) -> registration_pb2.RegistrationStatusResponse:
        """Record the error that kubelet reports."""
        self.errors.append(request.error)
        return registration_pb2.RegistrationStatusResponse()


async def test_kubelet_reaches_the_registration_service_by_the_paths_and_bytes_it_uses(tmp_path: Path) -> None:
    """Kubelet calls /pluginregistration.Registration/…; the paths and the bytes of the messages are literals here."""
    plugin, server = Registration(), grpc.aio.server()
    registration_pb2_grpc.add_RegistrationServicer_to_server(plugin, server)
    server.add_insecure_port(f"unix://{tmp_path}/reg.sock")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix://{tmp_path}/reg.sock") as channel:
            get_info: Call = channel.unary_unary("/pluginregistration.Registration/GetInfo")
            notify: Call = channel.unary_unary("/pluginregistration.Registration/NotifyRegistrationStatus")

            assert await get_info(b"") == (
                b"\x0a\x09CSIPlugin" + b"\x12\x0fcsi.mooring.dev" + b"\x1a\x09/csi.sock" + b"\x22\x051.0.0"
            )
            assert await notify(b"\x08\x00" + b"\x12\x04busy") == b""
    finally:
        await server.stop(grace=None)

    assert plugin.errors == ["busy"]
