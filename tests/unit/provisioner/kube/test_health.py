"""The two pages by which kubelet judges."""

import urllib.error
import urllib.request
from asyncio import to_thread

import pytest
from aiohttp import web

from provisioner.kube.health import ListenError, serving


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_page_says_ok_or_what_is_wrong() -> None:
    """200 or 503; each page has its own judge."""
    problem = ""
    async with serving("127.0.0.1", 0, healthy=lambda: "", ready=lambda: problem) as port:
        assert (200, "ok\n") == await to_thread(_get, port, "/readyz")
        problem = "no API server"
        assert (503, "no API server\n") == await to_thread(_get, port, "/readyz")
        assert (200, "ok\n") == await to_thread(_get, port, "/healthz")
        assert 404 == (await to_thread(_get, port, "/"))[0]


async def test_an_address_in_use_is_told() -> None:
    """In one sentence."""
    async with serving("127.0.0.1", 0, healthy=str, ready=str) as port:
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving("127.0.0.1", port, healthy=str, ready=str):
                pass


async def test_an_address_of_another_machine_is_told() -> None:
    """With the way out."""
    with pytest.raises(ListenError, match=r"^cannot listen on 192\.0\.2\.1:0: .+; choose another address$"):
        async with serving("192.0.2.1", 0, healthy=str, ready=str):
            pass


async def test_an_error_without_a_system_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError that Python made itself has a message alone."""

    async def refuse(site: web.TCPSite) -> None:
        del site
        raise OSError("could not bind on any address out of []")

    monkeypatch.setattr(web.TCPSite, "start", refuse)
    with pytest.raises(ListenError, match="could not bind on any address"):
        async with serving("127.0.0.1", 0, healthy=str, ready=str):
            pass
