"""Requests and connections that cost too much are refused, while others are served."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from provisioner.embedded.apiserver.http import connections
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store

NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """A server with a short timeout for headers."""
    store = Store(tmp_path / "engine.db")
    async with serve(store, port=0, tls=None, token="t", header_seconds=0.2) as port:
        yield port
    store.close()


@pytest.fixture
async def session(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that has the token."""
    headers = {"Authorization": "Bearer t"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
        yield session


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("verb", ["create", "apply"])
async def test_excessive_yaml_aliases_are_refused(session: aiohttp.ClientSession, verb: str) -> None:
    """YAML whose aliases expand exponentially is refused in a create and in an apply."""
    if verb == "create":
        sent = session.post(NAMESPACES, data=ALIASES, headers={"Content-Type": "application/yaml"})
    else:
        content = {"Content-Type": "application/apply-patch+yaml"}
        sent = session.patch(f"{NAMESPACES}/x?fieldManager=m", data=ALIASES, headers=content)
    async with sent as answer:
        assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.bound("patch-operations", "patch-copied-bytes")
async def test_copies_of_copies_are_refused(session: aiohttp.ClientSession) -> None:
    """A JSON patch whose copies double the object, or that has too many operations, is refused."""
    async with session.post(NAMESPACES, json={"metadata": {"name": "x", "annotations": {"a": "b" * 1000}}}) as answer:
        assert answer.status == 201
    copies = [{"op": "copy", "from": "/metadata/annotations", "path": f"/metadata/annotations/{n}"} for n in range(24)]
    content = {"Content-Type": "application/json-patch+json"}
    async with session.patch(f"{NAMESPACES}/x", json=copies, headers=content) as answer:
        assert answer.status == 413
    deep = [{"op": "copy", "from": "", "path": "/metadata/x"} for _ in range(600)]
    async with session.patch(f"{NAMESPACES}/x", json=deep, headers=content) as answer:
        assert answer.status in (413, 422)
    many = [{"op": "test", "path": "/kind", "value": "Namespace"}] * 10_001
    async with session.patch(f"{NAMESPACES}/x", json=many, headers=content) as answer:
        assert answer.status == 413


async def test_warnings_are_limited_and_escaped(session: aiohttp.ClientSession) -> None:
    """Warnings stay within clients' limits on headers, whatever the number and names of unknown fields."""
    body = {"metadata": {"name": "w"}, "b\r\nX-Injected: 1": 1} | {f"unknown{number}": 1 for number in range(5000)}
    async with session.post(NAMESPACES, json=body) as answer:
        assert answer.status == 201
        warnings = answer.headers.getall("Warning")
        assert sum(map(len, warnings)) < 8000
        assert warnings[-1].endswith('more warnings"')
        assert "X-Injected" not in answer.headers


async def test_a_large_object_is_refused_and_others_are_served_meanwhile(session: aiohttp.ClientSession) -> None:
    """Bodies with too many values or documents, in JSON and YAML, are refused without blocking other requests."""
    bodies = {
        b'{"metadata": {"name": "x"}, "spec": {"finalizers": [' + b'"a",' * 200_000 + b'"a"]}}': "application/json",
        b"a: [" + b"x," * 1_000_000 + b"x]": "application/yaml",
        b"---\n" * 600_000: "application/yaml",
        b"a: !!int '1" + b":1" * 500_000 + b"'": "application/yaml",
    }
    async with asyncio.timeout(20):
        for body, content in bodies.items():
            sent = session.post(NAMESPACES, data=io.BytesIO(body), headers={"Content-Type": content})
            async with session.get("/healthz") as health, sent as answer:
                assert health.status == 200
                assert answer.status == 413


async def _closed(reader: asyncio.StreamReader) -> bool:
    """Report whether the server closes the connection without a response."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_an_incomplete_request_is_disconnected(port: int, sent: bytes) -> None:
    """A client that does not send complete headers within the timeout is disconnected."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert await _closed(reader)
    writer.close()


@pytest.mark.parametrize("path", ["/healthz", NAMESPACES])
async def test_a_connection_without_a_token_is_closed(port: int, path: str) -> None:
    """The connection is closed after the response to a request without a token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert b"Connection: close" in await reader.read()
    writer.close()


@pytest.mark.bound("silent-connections")
async def test_silent_connections_do_not_block_other_clients(
    session: aiohttp.ClientSession, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest connection without a request is closed when there are too many."""
    monkeypatch.setattr(connections, "MAX_SILENT", 2)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    async with session.get(NAMESPACES) as answer:
        assert answer.status == 200
    for reader, writer in opened:
        assert await _closed(reader)
        writer.close()


async def test_a_long_response_is_not_disconnected(session: aiohttp.ClientSession) -> None:
    """The timeout is for the headers only: a watch continues beyond it."""
    query = {"watch": "1", "timeoutSeconds": "1"}
    async with session.get(NAMESPACES, params=query) as answer:
        assert answer.status == 200
        await answer.read()
