"""The credentials of a pod's ServiceAccount: where they are read from, and that a renewed token is used."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from kubernetes.aio.config import incluster_config

from provisioner.embedded.credentials import ensure
from provisioner.embedded.settings import StatePaths
from provisioner.kube.errors import KubeconfigError, Unavailable
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import VOLUME


class Pod:
    """The files that kubelet puts into a pod, and the client library's wall clock."""

    def __init__(self, directory: Path) -> None:
        self.token, self.authority = directory / "token", directory / "ca.crt"
        self.now = dt.datetime(2026, 1, 1)  # noqa: DTZ001 # the library's clock is naive


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    """A pod of a cluster whose API server does not listen, without the ServiceAccount's files."""
    pod = Pod(tmp_path)
    clock = SimpleNamespace(datetime=SimpleNamespace(now=lambda: pod.now), timedelta=dt.timedelta)
    monkeypatch.setattr(incluster_config, "datetime", clock)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(pod.token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(pod.authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    return pod


@asynccontextmanager
async def _server(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Run a server with the pod's certificate authority; yield the Authorization header of each request."""
    authorizations: list[str] = []

    async def response(request: web.Request) -> web.StreamResponse:
        authorizations.append(request.headers.get("Authorization", ""))
        return web.json_response({"metadata": {"name": "v"}})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", response)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    paths = StatePaths(pod.token.parent / "server")
    paths.tls.mkdir(parents=True)
    credentials = ensure(paths)
    pod.authority.write_bytes(credentials.authority.read_bytes())
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=credentials.server_context()).start()
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(runner.addresses[0][1]))
    try:
        yield authorizations
    finally:
        await runner.cleanup()


async def test_a_renewed_token_is_read_again(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubelet replaces the file long before the token expires; within a minute the new token is sent."""
    pod.token.write_text("one", encoding="ascii")
    async with _server(pod, monkeypatch) as authorizations:
        transport = await KubeTransport.in_cluster()
        try:
            await transport.get(VOLUME, "v")
            pod.token.write_text("two", encoding="ascii")
            pod.now += dt.timedelta(minutes=1)
            await transport.get(VOLUME, "v")
        finally:
            await transport.close()
    assert ["bearer one", "bearer two"] == authorizations


@pytest.mark.parametrize("content", [None, ""])
async def test_a_token_that_cannot_be_read_raises_unavailable(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """The caller retries, and the next request uses the complete file."""
    pod.token.write_text("one", encoding="ascii")
    async with _server(pod, monkeypatch) as authorizations:
        transport = await KubeTransport.in_cluster()
        try:
            pod.token.unlink()
            if content is not None:
                pod.token.write_text(content, encoding="ascii")
            pod.now += dt.timedelta(minutes=1)
            with pytest.raises(Unavailable, match="no valid credentials"):
                await transport.get(VOLUME, "v")
            pod.token.write_text("two", encoding="ascii")
            await transport.get(VOLUME, "v")
        finally:
            await transport.close()
    assert ["bearer two"] == authorizations


@pytest.mark.parametrize("missing", ["host", "token", "authority"])
async def test_outside_of_a_cluster_the_error_names_the_alternative(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The alternative is to pass a kubeconfig."""
    if missing == "host":
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    if missing != "token":
        pod.token.write_text("one", encoding="ascii")
    with pytest.raises(
        KubeconfigError, match=r"^this process has no credentials of a pod .*; outside of a cluster, pass a kubeconfig$"
    ):
        await KubeTransport.in_cluster()


async def test_an_invalid_authority_file_is_reported(pod: Pod) -> None:
    """The file exists but contains no certificate."""
    pod.token.write_text("one", encoding="ascii")
    pod.authority.write_text("no certificate", encoding="ascii")
    with pytest.raises(KubeconfigError, match=r"^this process has no credentials of a pod "):
        await KubeTransport.in_cluster()
