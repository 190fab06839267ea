"""
The server under test, and an HTTP client for it.

Every test here must also pass on kube-apiserver of Kubernetes 1.37 (without the ServiceAccount admission plugin).
With MOORING_CONTRACT_KUBECONFIG, every test runs a second time, on the server of that kubeconfig.
"""

import asyncio
import base64
import json
import os
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from tests import builders

Json = dict[str, Any]

OTHER_KUBECONFIG = "MOORING_CONTRACT_KUBECONFIG"

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
PARTIAL = "application/json;as=PartialObjectMetadata{};v=v1;g=meta.k8s.io"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Server:
    """The URL of the server under test, the headers of every request, and its TLS context."""

    url: str
    headers: dict[str, str]
    tls: ssl.SSLContext | bool = True


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    body: Json
    warnings: list[str]

    @property
    def reason(self) -> str:
        """The machine-readable reason of a Status."""
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        """The message of a Status."""
        return str(self.body.get("message", ""))


class Api:
    """Requests to the server under test, in a namespace that only one test uses."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, namespace: str) -> None:
        self._session = session
        self._server = server
        self.namespace = namespace
        self.claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        self.classes = "/apis/storage.k8s.io/v1/storageclasses"
        self.volumes = "/api/v1/persistentvolumes"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        accept: str = "",
        **query: str,
    ) -> Answer:
        """Send one request; a body of bytes is sent unencoded."""
        headers = {**self._server.headers, **({"Content-Type": content} if content else {})}
        headers |= {"Accept": accept} if accept else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self._session.request(
            method, self._server.url + path, data=data, headers=headers, params=query, ssl=self._server.tls
        ) as answer:
            return Answer(answer.status, await answer.json(content_type=None), answer.headers.getall("Warning", []))

    async def create(self, path: str, body: Json) -> Json:
        """Create an object; fail unless the status is 201."""
        answer = await self.call("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.body

    async def get(self, path: str, **query: str) -> Json:
        """Get an object; fail unless the status is 200."""
        answer = await self.call("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.body

    async def patch(self, path: str, body: Any, content: str = MERGE) -> Json:
        """Patch an object; fail unless the status is 200."""
        answer = await self.call("PATCH", path, body, content=content)
        assert answer.status == 200, answer.body
        return answer.body

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = "", **query: str) -> "AsyncIterator[Watch]":
        """Open a watch."""
        headers = {**self._server.headers, **({"Accept": accept} if accept else {})}
        params = {"watch": "true", "timeoutSeconds": "20", **query}
        url = self._server.url + path
        async with self._session.get(url, headers=headers, params=params, ssl=self._server.tls) as answer:
            assert answer.status == 200, await answer.text()
            yield Watch(answer)


class Watch:
    """The events of a watch, one after the other."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> Json:
        """Return the next event that is not a periodic bookmark."""
        while True:
            async with asyncio.timeout(20):
                line = await self._answer.content.readline()
            assert line, "the watch ended"
            event: Json = json.loads(line)
            annotations = event["object"].get("metadata", {}).get("annotations", {})
            if event["type"] != "BOOKMARK" or annotations:
                return event

    async def types_and_names(self, count: int) -> list[tuple[str, str]]:
        """Return type and object name of the next `count` events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


@asynccontextmanager
async def _embedded(tmp_path: Path) -> AsyncIterator[Server]:
    """Run the embedded server on a new store."""
    store = Store(tmp_path / "engine.db")
    try:
        async with serve(store, port=0, tls=None, token="right") as port:
            yield Server(f"http://127.0.0.1:{port}", {"Authorization": "Bearer right"})
    finally:
        store.close()


@asynccontextmanager
async def _named(_: Path) -> AsyncIterator[Server]:
    """Return the server of a kubeconfig with a token."""
    config = yaml.safe_load(Path(os.environ[OTHER_KUBECONFIG]).read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    yield Server(cluster["server"], {"Authorization": f"Bearer {user['token']}"}, tls)


SERVERS = {"embedded": _embedded, **({"other": _named} if os.environ.get(OTHER_KUBECONFIG) else {})}


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """Each server, one after the other."""
    async with SERVERS[request.param](tmp_path) as server:
        yield server


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """A client with a new namespace, which is deleted afterwards with everything in it."""
    namespace = f"contract-{secrets.token_hex(4)}"
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session:
        api = Api(session, server, namespace)
        await api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        yield api
        for path in (api.sets, api.pods, api.claims):
            for item in (await api.get(path))["items"]:
                name = item["metadata"]["name"]
                await api.call("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}}, content=MERGE)
            await api.call("DELETE", path, {"gracePeriodSeconds": 0})
            for item in (await api.get(path))["items"]:
                name = item["metadata"]["name"]
                await api.call("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}}, content=MERGE)
        path = f"/api/v1/namespaces/{namespace}"
        await api.call("DELETE", path)
        left = await api.call("GET", path)
        if left.status == 200:
            left.body["spec"]["finalizers"] = []
            await api.call("PUT", f"{path}/finalize", left.body)


def claim(name: str = "www", *, size: str = "1Gi", labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """Return a valid claim with an empty class."""
    return builders.claim(name, size=size, labels=labels, **{"storageClassName": "", **spec})


def pod(name: str = "web-0", **spec: Any) -> Json:
    """Return a valid pod."""
    return builders.pod(name, **spec)


def stateful_set(name: str = "web", **spec: Any) -> Json:
    """Return a valid StatefulSet with one claim template."""
    found = builders.stateful_set(templates=[claim()], **spec)
    found["metadata"]["name"] = name
    return found


@pytest.fixture
async def volume(api: Api) -> AsyncIterator[Json]:
    """A PersistentVolume that only one test uses."""
    body = {
        "metadata": {"name": f"{api.namespace}-pv"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "csi.mooring.dev", "volumeHandle": "pool.one"},
        },
    }
    created = await api.create(api.volumes, body)
    yield created
    path = f"{api.volumes}/{created['metadata']['name']}"
    await api.call("DELETE", path)
    await api.call("PATCH", path, {"metadata": {"finalizers": None}}, content=MERGE)


@pytest.fixture
async def storage_class(api: Api) -> AsyncIterator[Json]:
    """A StorageClass with volume expansion that only one test uses."""
    body = {
        "metadata": {"name": f"{api.namespace}-sc"},
        "provisioner": "csi.mooring.dev",
        "parameters": {"backend": "directory"},
        "allowVolumeExpansion": True,
    }
    created = await api.create(api.classes, body)
    yield created
    await api.call("DELETE", f"{api.classes}/{created['metadata']['name']}")
