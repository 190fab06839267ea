"""Connections to the driver without a certificate are limited in number and time."""

import asyncio
import socket
from pathlib import Path

import grpc
import pytest

from csi.process import network
from csi.process.flags import Network
from provisioner.cluster.authority import bundle
from tests.ports import free_port
from tests.unit.csi.process.certificates import authority, code_of_call, controller
from tests.unit.csi.volumes.fake_backend import manager_of

pytestmark = pytest.mark.process


def _closed(connections: list[socket.socket]) -> int:
    """The number of them that the driver has closed."""
    count = 0
    for each in connections:
        try:
            count += each.recv(1) == b""
        except BlockingIOError:
            continue
        except OSError:
            count += 1
    return count


async def test_unfinished_handshakes_are_limited_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those over the limit are closed at once, the others after the timeout; then the controller can connect."""
    monkeypatch.setattr(network, "HANDSHAKE_SECONDS", 1.0)
    monkeypatch.setattr(network, "MOST_CONNECTIONS", 4)
    port, trusts, ca = free_port(), authority(), tmp_path / "ca.crt"
    ca.write_text(bundle([trusts]), encoding="ascii")
    manager, _ = manager_of(tmp_path / "p")
    server = await network.listen(Network(f"127.0.0.1:{port}", ca, tmp_path / "keys"), manager, node_id="n")
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
    try:
        for each in connections:
            each.setblocking(False)
        async with asyncio.timeout(20):
            while _closed(connections) < 6:
                await asyncio.sleep(0.01)
            assert _closed(connections) == 6
            while _closed(connections) < 10:
                await asyncio.sleep(0.01)
        key_pair, certificate = controller(trusts), tmp_path / "keys" / "driver.crt"
        assert await asyncio.to_thread(code_of_call, port, key_pair, certificate) is grpc.StatusCode.OK
    finally:
        for each in connections:
            each.close()
        await server.stop(0)
        await manager.stop()
