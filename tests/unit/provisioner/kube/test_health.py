"""The endpoints for kubelet's liveness and readiness probes."""

import urllib.error
import urllib.request
from asyncio import to_thread

import pytest
from aiohttp import web

from provisioner.kube.health import ListenError, serving


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_an_endpoint_returns_ok_or_the_problem() -> None:
    """The status is 200 or 503; each endpoint has its own check."""
    problem = ""
    async with serving("127.0.0.1", 0, healthy=lambda: "", ready=lambda: problem) as port:
        assert (200, "ok\n") == await to_thread(_get, port, "/readyz")
        problem = "no API server"
        assert (503, "no API server\n") == await to_thread(_get, port, "/readyz")
        assert (200, "ok\n") == await to_thread(_get, port, "/healthz")
        assert 404 == (await to_thread(_get, port, "/"))[0]


async def test_an_address_in_use_is_reported() -> None:
    """The error names the address."""
    async with serving("127.0.0.1", 0, healthy=str, ready=str) as port:
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving("127.0.0.1", port, healthy=str, ready=str):
                pass


async def test_an_address_of_another_machine_is_reported() -> None:
    """The error has the remedy: choose another address."""
    with pytest.raises(ListenError, match=r"^cannot listen on 192\.0\.2\.1:0: .+; choose another address$"):
        async with serving("192.0.2.1", 0, healthy=str, ready=str):
            pass


async def test_an_error_without_an_errno_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError that Python raises without an errno has only a message."""

    async def refuse(site: web.TCPSite) -> None:
        del site
        raise OSError("could not bind on any address out of []")

    monkeypatch.setattr(web.TCPSite, "start", refuse)
    with pytest.raises(ListenError, match="could not bind on any address"):
        async with serving("127.0.0.1", 0, healthy=str, ready=str):
            pass
