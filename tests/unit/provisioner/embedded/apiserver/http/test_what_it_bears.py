"""Requests and connections that would cost the server too much are refused, and others are served meanwhile."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from provisioner.embedded.apiserver.http import connections
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store

SPACES = "/api/v1/namespaces"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """A server that waits for headers for a short time."""
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


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("verb", ["create", "apply"])
async def test_a_bomb_of_aliases_is_refused(session: aiohttp.ClientSession, verb: str) -> None:
    """By whatever way YAML comes in."""
    if verb == "create":
        sent = session.post(SPACES, data=BOMB, headers={"Content-Type": "application/yaml"})
    else:
        content = {"Content-Type": "application/apply-patch+yaml"}
        sent = session.patch(f"{SPACES}/x?fieldManager=m", data=BOMB, headers=content)
    async with sent as answer:
        assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.bound("patch-operations", "patch-copied-bytes")
async def test_copies_of_copies_are_refused(session: aiohttp.ClientSession) -> None:
    """Each doubles what is there."""
    async with session.post(SPACES, json={"metadata": {"name": "x", "annotations": {"a": "b" * 1000}}}) as answer:
        assert answer.status == 201
    copies = [{"op": "copy", "from": "/metadata/annotations", "path": f"/metadata/annotations/{n}"} for n in range(24)]
    content = {"Content-Type": "application/json-patch+json"}
    async with session.patch(f"{SPACES}/x", json=copies, headers=content) as answer:
        assert answer.status == 413
    deep = [{"op": "copy", "from": "", "path": "/metadata/x"} for _ in range(600)]
    async with session.patch(f"{SPACES}/x", json=deep, headers=content) as answer:
        assert answer.status in (413, 422)
    many = [{"op": "test", "path": "/kind", "value": "Namespace"}] * 10_001
    async with session.patch(f"{SPACES}/x", json=many, headers=content) as answer:
        assert answer.status == 413


async def test_warnings_fit_into_the_headers_that_clients_read(session: aiohttp.ClientSession) -> None:
    """However many unknown fields a body has, and whatever their names are."""
    body = {"metadata": {"name": "w"}, "b\r\nX-Injected: 1": 1} | {f"unknown{number}": 1 for number in range(5000)}
    async with session.post(SPACES, json=body) as answer:
        assert answer.status == 201
        warnings = answer.headers.getall("Warning")
        assert sum(map(len, warnings)) < 8000
        assert warnings[-1].endswith('more warnings"')
        assert "X-Injected" not in answer.headers


async def test_a_large_object_is_refused_and_others_are_served_meanwhile(session: aiohttp.ClientSession) -> None:
    """As JSON and as YAML, of values without number and of many documents."""
    bodies = {
        b'{"metadata": {"name": "x"}, "spec": {"finalizers": [' + b'"a",' * 200_000 + b'"a"]}}': "application/json",
        b"a: [" + b"x," * 1_000_000 + b"x]": "application/yaml",
        b"---\n" * 600_000: "application/yaml",
        b"a: !!int '1" + b":1" * 500_000 + b"'": "application/yaml",
    }
    async with asyncio.timeout(20):
        for body, content in bodies.items():
            sent = session.post(SPACES, data=io.BytesIO(body), headers={"Content-Type": content})
            async with session.get("/healthz") as health, sent as answer:
                assert health.status == 200
                assert answer.status == 413


async def _ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has hung up, without a word."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_who_says_nothing_or_not_all_is_hung_up_on(port: int, said: bytes) -> None:
    """The first request has to come within a limit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    assert await _ended(reader)
    writer.close()


@pytest.mark.parametrize("path", ["/healthz", SPACES])
async def test_who_has_no_token_keeps_no_connection(port: int, path: str) -> None:
    """The answer is the end of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert b"Connection: close" in await reader.read()
    writer.close()


@pytest.mark.bound("silent-connections")
async def test_silent_connections_keep_nobody_out(
    session: aiohttp.ClientSession, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of too many is closed."""
    monkeypatch.setattr(connections, "MAX_SILENT", 2)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    async with session.get(SPACES) as answer:
        assert answer.status == 200
    for reader, writer in opened:
        assert await _ended(reader)
        writer.close()


async def test_a_request_that_takes_long_to_answer_is_not_hung_up_on(session: aiohttp.ClientSession) -> None:
    """The limit is for the headers: a watch goes on beyond it."""
    query = {"watch": "1", "timeoutSeconds": "1"}
    async with session.get(SPACES, params=query) as answer:
        assert answer.status == 200
        await answer.read()
