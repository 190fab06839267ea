"""Responses of a server, sent over HTTP on a socket, and the results of the transport."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from provisioner.kube.errors import ApiError, Forbidden, Gone, KubeconfigError, Unavailable
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import CLAIM, VOLUME, Json
from tests import builders

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(response: Handler, directory: Path) -> AsyncIterator[KubeTransport]:
    """Run a server with this handler for every request; yield a transport to it."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", response)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    transport = await KubeTransport.from_kubeconfig(kubeconfig(directory, f"http://{host}:{port}"))
    try:
        yield transport
    finally:
        await transport.close()
        await runner.cleanup()


def kubeconfig(directory: Path, server: str) -> Path:
    """Write a kubeconfig with a token to the directory; return its path."""
    document = builders.kubeconfig(server, token="sesame")
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _streaming(*pieces: bytes, breaks: bool = False) -> Handler:
    async def response(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if breaks and request.transport is not None:
            request.transport.close()
        return response

    return response


def _event(number: int, kind: str = "ADDED") -> bytes:
    event = {"type": kind, "object": {"metadata": {"name": "v", "resourceVersion": str(number)}}}
    return json.dumps(event).encode() + b"\n"


async def _watched(transport: KubeTransport) -> list[str]:
    return [each.object["metadata"]["resourceVersion"] async for each in transport.watch(VOLUME, resource_version="1")]


async def test_every_request_carries_the_token_and_names_its_kind(tmp_path: Path) -> None:
    """The client library omits the Authorization header by default; a create adds apiVersion and kind."""
    requests: list[tuple[str, str, str, Json]] = []

    async def response(request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        requests.append((request.method, request.path, request.headers.get("Authorization", ""), body))
        return web.json_response({"metadata": {"name": "v"}})

    async with served(response, tmp_path) as transport:
        await transport.create(CLAIM, {"metadata": {"name": "a", "namespace": "n"}})
        await transport.delete(VOLUME, "v", uid="u", resource_version="7", grace_seconds=0, propagation="Orphan")

    path = "/api/v1/namespaces/n/persistentvolumeclaims"
    created = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "n"}}
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
    }
    assert requests == [
        ("POST", path, "Bearer sesame", created),
        ("DELETE", "/api/v1/persistentvolumes/v", "Bearer sesame", options),
    ]


@pytest.mark.parametrize(
    ("patch", "content_type"), [({"spec": {}}, "application/merge-patch+json"), ([], "application/json-patch+json")]
)
async def test_a_dict_is_a_merge_patch_and_a_list_a_json_patch(
    tmp_path: Path, patch: Json | list[Json], content_type: str
) -> None:
    """The server distinguishes them by the content type alone."""
    requests: list[tuple[str, str]] = []

    async def response(request: web.Request) -> web.StreamResponse:
        requests.append((request.path, request.content_type))
        return web.json_response({})

    async with served(response, tmp_path) as transport:
        await transport.patch(VOLUME, "v", patch, subresource="status")

    assert requests == [("/api/v1/persistentvolumes/v/status", content_type)]


async def test_a_list_is_read_to_its_last_page(tmp_path: Path) -> None:
    """Each item gets apiVersion and kind, which items of a list lack; the resourceVersion is the list's."""
    requested: list[str] = []

    async def response(request: web.Request) -> web.StreamResponse:
        token = request.query.get("continue", "")
        requested.append(token)
        after = {"": "p2", "p2": "p3", "p3": ""}[token]
        item = {"metadata": {"name": f"v{len(requested)}"}}
        return web.json_response({"metadata": {"resourceVersion": "9", "continue": after}, "items": [item]})

    async with served(response, tmp_path) as transport:
        listing = await transport.list(VOLUME)

    assert requested == ["", "p2", "p3"]
    assert [each["metadata"]["name"] for each in listing.items] == ["v1", "v2", "v3"]
    assert {each["kind"] for each in listing.items} == {"PersistentVolume"}
    assert listing.resource_version == "9"


async def test_events_are_complete_however_the_stream_is_split(tmp_path: Path) -> None:
    """Network chunks are independent of lines."""
    text = _event(2) + _event(3) + b"\n" + _event(4, "BOOKMARK")
    async with served(_streaming(text[:10], text[10:90], text[90:]), tmp_path) as transport:
        assert await _watched(transport) == ["2", "3", "4"]


async def test_a_stream_that_breaks_ends_after_the_last_complete_event(tmp_path: Path) -> None:
    """A partial event is dropped: the watch resumes after the last complete one."""
    async with served(_streaming(_event(2), _event(3)[:20], breaks=True), tmp_path) as transport:
        assert await _watched(transport) == ["2"]


@pytest.mark.parametrize(
    "line",
    [
        b"{nonsense\n",
        b"[]\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "ADDED", "object": []}\n',
        b'{"type":"ADDED","object":{}}\n',
        b"\xff\xfe\n",
    ],
)
async def test_a_line_that_is_no_event_is_a_server_error(tmp_path: Path, line: bytes) -> None:
    """The error is an ApiError with status 500, after which the reflector lists again."""
    async with served(_streaming(line), tmp_path) as transport:
        with pytest.raises(ApiError, match="watch event") as caught:
            await _watched(transport)

    assert caught.value.status == 500


async def test_an_error_in_the_stream_is_the_error_it_names(tmp_path: Path) -> None:
    """A resourceVersion that is too old may be reported in the stream as well as by the status of the response."""
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    async with served(_streaming(_event(2), line), tmp_path) as transport:
        watch = transport.watch(VOLUME, resource_version="1")
        assert (await anext(watch)).object["metadata"]["resourceVersion"] == "2"
        with pytest.raises(Gone, match="too old"):
            await anext(watch)


async def test_only_a_status_is_quoted(tmp_path: Path) -> None:
    """A proxy's error page may contain secrets, which must not be logged."""

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="upstream at 10.0.0.1 with cookie=secret")

    async def status(_: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "reason": "Forbidden", "message": "the pool may not be seen"}
        return web.json_response(body, status=403)

    async with served(page, tmp_path) as transport:
        with pytest.raises(Unavailable) as caught:
            await transport.get(VOLUME, "v")
    assert caught.value.message == "GET /api/v1/persistentvolumes/v: the server responded with 502"
    async with served(status, tmp_path) as transport:
        with pytest.raises(Forbidden, match=r"^the pool may not be seen$"):
            await transport.get(VOLUME, "v")


async def test_a_response_that_is_not_json_is_an_api_error(tmp_path: Path) -> None:
    """Another server may listen at the address."""

    async def response(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    async with served(response, tmp_path) as transport:
        with pytest.raises(ApiError, match="is not JSON"):
            await transport.get(VOLUME, "v")


async def test_a_server_that_does_not_listen_is_unavailable(tmp_path: Path, unused_tcp_port: int) -> None:
    """The HTTP client's exceptions become ApiError."""
    transport = await KubeTransport.from_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{unused_tcp_port}"))
    try:
        with pytest.raises(Unavailable, match="no response"):
            await transport.get(VOLUME, "v")
        with pytest.raises(Unavailable, match="no response"):
            await _watched(transport)
    finally:
        await transport.close()


@pytest.mark.parametrize("content", [None, "", "{", "kind: Config\ncurrent-context: absent\n", "just words"])
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    """The error for a missing, empty or broken file, or one without its context, has the path."""
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(KubeconfigError, match=f"cannot use the kubeconfig {path}: "):
        await KubeTransport.from_kubeconfig(path)
