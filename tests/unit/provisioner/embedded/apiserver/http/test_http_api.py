"""Behaviour of the HTTP API beyond the contract: watches, limits, malformed requests and errors."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from provisioner.embedded.apiserver.http.queries import MAX_BODY_BYTES
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import POD

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A store that retains few changes."""
    store = Store(tmp_path / "engine.db", keep_changes=4)
    yield store
    store.close()


@pytest.fixture
async def session(store: Store) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with a short time between bookmarks."""
    async with (
        serve(store, port=0, tls=None, token="t", bookmark_seconds=0.05) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer t"}) as session,
    ):
        yield session


async def _make(session: aiohttp.ClientSession, *names: str) -> None:
    for name in names:
        async with session.post(LEASES, json={"metadata": {"name": name}}) as answer:
            assert answer.status == 201, await answer.text()


async def test_a_watch_from_a_dropped_version_ends_with_expired(session: aiohttp.ClientSession) -> None:
    """A watch from a version that is no longer retained gets one ERROR event with a 410 Status, and ends."""
    await _make(session, *"abcdefgh")
    async with session.get(LEASES, params={"watch": "1", "resourceVersion": "1"}) as answer:
        (line,) = (await answer.text()).splitlines()
    event = json.loads(line)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_an_idle_watch_gets_bookmarks(session: aiohttp.ClientSession, store: Store) -> None:
    """Bookmarks have the newest version of all kinds; only watches that ask for bookmarks get them."""
    version = str(store.version)
    query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
    async with session.get("/api/v1/nodes", params=query) as answer:
        await _make(session, "a")
        while True:
            event = json.loads(await asyncio.wait_for(answer.content.readline(), 20))
            assert event["type"] == "BOOKMARK"
            assert event["object"]["kind"] == "Node"
            if event["object"]["metadata"]["resourceVersion"] == str(store.version):
                break
    async with session.get(
        "/api/v1/nodes", params={"watch": "1", "resourceVersion": version, "timeoutSeconds": "1"}
    ) as answer:
        assert await answer.read() == b""


async def test_watches_end_when_the_server_stops(store: Store) -> None:
    """A server that stops ends its watches in order instead of aborting them."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer t"}) as session:
        async with serve(store, port=0, tls=None, token="t") as port:
            answer = await session.get(f"http://127.0.0.1:{port}{LEASES}", params={"watch": "1"})
            assert answer.status == 200
            reading = asyncio.create_task(answer.content.read())
        assert await asyncio.wait_for(reading, 20) == b""
        answer.release()


async def test_the_body_has_a_limit(session: aiohttp.ClientSession) -> None:
    """A body that is too long is refused with 413."""
    async with session.post(
        LEASES, data=io.BytesIO(b" " * (MAX_BODY_BYTES + 1)), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413
        assert (await answer.json())["reason"] == "RequestEntityTooLarge"


@pytest.mark.parametrize(
    ("method", "path", "query", "code"),
    [
        ("GET", LEASES, {"limit": "many"}, 400),
        ("GET", LEASES, {"watch": "perhaps"}, 400),
        ("GET", LEASES, {"resourceVersion": "-1"}, 400),
        ("GET", LEASES, {"resourceVersion": "999999"}, 504),
        ("GET", LEASES, {"watch": "1", "sendInitialEvents": "true"}, 422),
        ("GET", LEASES, {"includeObject": "Some"}, 400),
        ("POST", LEASES, {"dryRun": "Some"}, 422),
        ("POST", LEASES, {"fieldValidation": "Sometimes"}, 422),
        ("DELETE", LEASES, {"propagationPolicy": "Sideways"}, 400),
        ("PUT", LEASES, {}, 405),
        ("GET", "/", {}, 404),
    ],
)
async def test_a_malformed_request_gets_a_status(
    session: aiohttp.ClientSession, method: str, path: str, query: dict[str, str], code: int
) -> None:
    """Every malformed request gets a Status with the right code."""
    async with session.request(
        method,
        path,
        params=query,
        json={"metadata": {"name": "a"}},
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    ) as answer:
        body = await answer.json()
        assert (answer.status, body["kind"], body["code"]) == (code, "Status", code)


async def test_an_unexpected_error_exposes_no_traceback(
    session: aiohttp.ClientSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is an InternalError without its message and traceback."""

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("the details")

    monkeypatch.setattr(store, "page", broken)
    async with session.get(LEASES) as answer:
        text = await answer.text()
    assert answer.status == 500
    assert "the details" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("options", [{"gracePeriodSeconds": "5"}, {"preconditions": []}, {"propagationPolicy": 7}])
async def test_invalid_delete_options_delete_nothing(session: aiohttp.ClientSession, options: dict[str, Any]) -> None:
    """Delete options of a wrong type are a bad request."""
    await _make(session, "a")
    async with session.delete(f"{LEASES}/a", json=options) as answer:
        assert answer.status == 400
    async with session.get(f"{LEASES}/a") as answer:
        assert answer.status == 200


async def test_a_body_can_be_yaml(session: aiohttp.ClientSession) -> None:
    """A body can be YAML; malformed YAML gets a 400, another media type a 415."""
    text = "metadata:\n  name: from-yaml\nspec:\n  holderIdentity: me\n"
    async with session.post(LEASES, data=text, headers={"Content-Type": "application/yaml"}) as answer:
        assert (answer.status, (await answer.json())["spec"]) == (201, {"holderIdentity": "me"})
    async with session.post(LEASES, data=text, headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
    async with session.post(LEASES, data="a: [", headers={"Content-Type": "application/yaml"}) as answer:
        assert answer.status == 400


async def test_binding_and_finalize_can_be_patched(session: aiohttp.ClientSession, store: Store) -> None:
    """Besides POST and PUT, `binding` and `finalize` accept a merge patch, the only write of Mooring's own client."""
    merge = {"Content-Type": "application/merge-patch+json"}
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pods = "/api/v1/namespaces/there/pods"
    async with session.post("/api/v1/namespaces", json={"metadata": {"name": "there"}}) as answer:
        assert answer.status == 201
    async with session.post(pods, json=body) as answer:
        assert answer.status == 201
    async with session.patch(f"{pods}/p/binding", json={"target": {"name": "n"}}, headers=merge) as answer:
        assert answer.status == 201
    assert store.get(POD, "there", "p")["spec"]["nodeName"] == "n"
    binding = {"metadata": {"name": "p"}, "target": {"name": "n"}}
    async with session.post("/api/v1/namespaces/there/bindings", json=binding) as answer:
        assert answer.status == 409
    async with session.delete(f"{pods}/p", json={"gracePeriodSeconds": 0}) as answer:
        assert answer.status == 200
    async with session.delete("/api/v1/namespaces/there") as answer:
        assert (await answer.json())["status"]["phase"] == "Terminating"
    done = {"spec": {"finalizers": None}}
    async with session.patch("/api/v1/namespaces/there/finalize", json=done, headers=merge) as answer:
        assert answer.status == 200
    async with session.get("/api/v1/namespaces/there") as answer:
        assert answer.status == 404


@pytest.mark.limit("api-validation")
async def test_the_last_of_duplicate_fields_is_used(session: aiohttp.ClientSession) -> None:
    """The last value of a duplicate field is used, even under Strict; kube-apiserver refuses it."""
    body = b'{"metadata": {"name": "first", "name": "second"}}'
    headers = {"Content-Type": "application/json"}
    async with session.post(LEASES, data=body, headers=headers, params={"fieldValidation": "Strict"}) as answer:
        assert answer.status == 201
        assert (await answer.json())["metadata"]["name"] == "second"


async def test_the_404_of_an_unknown_path_has_details(session: aiohttp.ClientSession) -> None:
    """The Status of an unknown path has `details`: clients such as kubectl debug read them unchecked."""
    async with session.patch("/api/v1/namespaces/default/pods/p/unknown", json={}) as answer:
        assert (answer.status, (await answer.json())["details"]) == (404, {})
