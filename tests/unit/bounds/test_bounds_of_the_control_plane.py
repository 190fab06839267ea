"""Each limit of provisioner/limits.py that no other test exceeds: beyond it, the behaviour is the table's."""

import asyncio
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import grpc.aio
import pytest
from aiohttp import web

from csi.v1 import inventory_pb2, inventory_pb2_grpc
from provisioner import limits
from provisioner.actions.backoff import Backoff
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.binding.decision import Reason
from provisioner.binding.explain import Explanation
from provisioner.cli.commands import explain
from provisioner.cli.exits import CommandError
from provisioner.cli.manifests import read_all
from provisioner.drivers.client import DriverClient, RpcError
from provisioner.embedded import driver_process
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.driver_process import DriverProcess
from provisioner.kube import loops
from provisioner.kube.cache import Cache
from provisioner.kube.errors import ApiError, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.reflector import Reflector
from provisioner.kube.transport import KubeTransport
from provisioner.model import history, yaml_limits
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, VOLUME, Json
from tests.unit.provisioner.kube.test_transport import served

NAMESPACES = "/api/v1/namespaces"


def _claim(uid: str) -> Json:
    return {"metadata": {"name": "c", "namespace": "default", "uid": uid}}


@pytest.mark.bound("event-characters")
async def test_a_long_message_of_an_event_is_truncated() -> None:
    """The message is truncated to the length that upstream allows."""
    written: list[Json] = []

    class Api:
        async def get(self, *_: Any) -> Json:
            raise NotFound(404, "NotFound", "no such event")

        async def create(self, _: Any, obj: Json) -> None:
            written.append(obj)

    recorder = Recorder(cast(Any, Api()), "mooring")
    await recorder.record(_claim("u"), type="Normal", reason="R", message="x" * (limits.EVENT_CHARACTERS + 1))

    assert [limits.EVENT_CHARACTERS] == [len(each["message"]) for each in written]


@pytest.mark.bound("events-remembered")
async def test_the_oldest_of_too_many_recorded_events_is_forgotten() -> None:
    """It is recorded again, which increases the count of the Event."""
    recorded: list[str] = []

    async def record(obj: Json, **_: Any) -> None:
        recorded.append(obj["metadata"]["uid"])

    deduplicator = EventDeduplicator(cast(Any, SimpleNamespace(record=record)))
    for number in [*range(limits.EVENTS_REMEMBERED + 1), 0]:
        await deduplicator.report(_claim(f"{number}"), warning=True, reason="R", message="m")

    assert limits.EVENTS_REMEMBERED + 2 == len(recorded)
    assert len(deduplicator._recorded) <= limits.EVENTS_REMEMBERED
    assert len(deduplicator._repeats._last) <= limits.EVENTS_REMEMBERED


@pytest.mark.bound("failures-remembered")
async def test_the_oldest_failure_is_forgotten_first() -> None:
    """Its object is retried at once, and the others are not."""
    backoff = Backoff()
    for number in range(limits.FAILURES_REMEMBERED + 1):
        backoff.failed(f"{number}", "request", slowly=True)

    assert (backoff.left("0", "request"), backoff.left("1", "request") > 0) == (0.0, True)


@pytest.mark.bound("history-claims")
def test_the_history_of_a_volume_contains_its_latest_claims() -> None:
    """The annotation contains a limited number of claims."""
    many = [Owner("n", f"c{number}", f"{number}", "", "", "") for number in range(limits.HISTORY_CLAIMS + 1)]

    assert tuple(many[1:]) == history.read(history.write(many))


@pytest.mark.bound("loop-pause-seconds", "watch-pause-seconds", "driver-restart-seconds")
async def test_pauses_increase_to_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The pauses are those of a loop, of a watch and of a driver that exits at once."""
    pauses: list[float] = []
    ceilings: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 30:
            raise asyncio.CancelledError

    async def fails() -> None:
        raise OSError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await loops.forever("a test", fails)
    assert (pauses[-1], max(pauses)) == (limits.LOOP_PAUSE_SECONDS, limits.LOOP_PAUSE_SECONDS)

    pauses.clear()

    def use_ceiling(_: float, ceiling: float) -> float:
        ceilings.append(ceiling)
        return ceiling

    monkeypatch.setattr(random, "uniform", use_ceiling)
    broken = SimpleNamespace(list=lambda *_: fails())
    with pytest.raises(asyncio.CancelledError):
        await Reflector(cast(Any, broken), VOLUME, Cache(), changed=lambda _: None).run()
    assert (ceilings[-1], max(ceilings)) == (limits.WATCH_PAUSE_SECONDS, limits.WATCH_PAUSE_SECONDS)

    pauses.clear()
    driver = DriverProcess(cast(Any, SimpleNamespace(paths=tmp_path)), report=lambda _: None)

    async def ended() -> int:
        return 1

    async def spawn() -> Any:
        return None

    driver._process = cast(Any, SimpleNamespace(wait=ended, returncode=1))
    monkeypatch.setattr(driver, "_spawn", spawn)
    with pytest.raises(asyncio.CancelledError):
        await driver.watch()
    driver.close_lifeline()
    assert (pauses[-1], max(pauses)) == (limits.DRIVER_RESTART_SECONDS, limits.DRIVER_RESTART_SECONDS)


@pytest.mark.bound("driver-lines", "driver-line-bytes")
async def test_a_long_line_of_the_drivers_log_does_not_stop_the_relay(tmp_path: Path) -> None:
    """The line is truncated, the next lines are read, and the last lines are retained."""
    stream = asyncio.StreamReader(limit=limits.DRIVER_LINE_BYTES)
    lines = [f"{number}\n".encode() for number in range(limits.DRIVER_LINES + 1)]
    stream.feed_data(b"".join([lines[0], b"x" * 3 * limits.DRIVER_LINE_BYTES, b"\n", *lines[1:]]))
    stream.feed_eof()
    driver = DriverProcess(cast(Any, SimpleNamespace(paths=tmp_path, log_format="text")), report=lambda _: None)
    await driver._relay(cast(Any, SimpleNamespace(stderr=stream)))
    driver.close_lifeline()

    assert [f"{number}" for number in range(1, limits.DRIVER_LINES + 1)] == list(driver._last_lines)
    assert driver_process.RETAINED_LINES == limits.DRIVER_LINES


@pytest.mark.bound("watch-line-bytes", "api-answer-bytes")
async def test_an_endless_response_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for a line of a watch as well as for a whole response."""
    monkeypatch.setattr("provisioner.kube.transport.LARGEST_LINE", 1000)
    monkeypatch.setattr(limits, "API_ANSWER_BYTES", 1000)

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(200):
            await response.write(b'"' + b"x" * 100)
        return response

    async with served(respond, tmp_path) as transport:
        for call in (_watched(transport), transport.get(VOLUME, "v"), transport.list(CLAIM)):
            with pytest.raises(ApiError, match=r"larger than the limit|has over 1000 bytes"):
                await call


async def _watched(transport: KubeTransport) -> None:
    async for _ in transport.watch(VOLUME, resource_version="1"):
        pass


class _Endless(inventory_pb2_grpc.InventoryServicer):
    """An Inventory service whose lists never end, and whose pools exceed the size of a response."""

    def __init__(self) -> None:
        self.page_sizes: list[int] = []

    async def ListManifests(  # noqa: N802 # the protocol's name
        self, request: inventory_pb2.ListManifestsRequest, context: Any
    ) -> inventory_pb2.ListManifestsResponse:
        """Return an empty page that has a next one."""
        assert context
        self.page_sizes.append(request.page_size)
        return inventory_pb2.ListManifestsResponse(next_page_token="more")

    async def ListPools(  # noqa: N802 # as above
        self, request: inventory_pb2.ListPoolsRequest, context: Any
    ) -> inventory_pb2.ListPoolsResponse:
        """Return a pool that is too large for a response."""
        del request, context
        return inventory_pb2.ListPoolsResponse(pools=[inventory_pb2.Pool(problem="x" * limits.DRIVER_ANSWER_BYTES)])


@pytest.mark.bound("driver-answer-bytes", "driver-pages", "driver-page-entries")
async def test_an_endless_list_of_a_driver_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compromised node costs the controller a limited number of pages of a limited size."""
    monkeypatch.setattr(limits, "DRIVER_PAGES", 3)
    endless = _Endless()  # type: ignore[abstract] # the rest is not called
    server = grpc.aio.server()
    inventory_pb2_grpc.add_InventoryServicer_to_server(endless, server)
    server.add_insecure_port(f"unix://{tmp_path}/s")
    await server.start()
    client = DriverClient(f"unix://{tmp_path}/s")
    try:
        for call in (client.list_manifests, client.list_pools):
            with pytest.raises(RpcError) as caught:
                await call()
            assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await client.close()
        await server.stop(None)

    assert [limits.DRIVER_PAGE_ENTRIES] * 3 == endless.page_sizes


@pytest.mark.bound("rejected-shown")
def test_explain_counts_the_volumes_it_omits(capsys: pytest.CaptureFixture[str]) -> None:
    """The volumes that nearly match are named."""
    rejected = tuple(Reason("capacity", f"v{number}", "2Gi", "1Gi") for number in range(limits.REJECTED_SHOWN + 2))
    explain._print(Explanation("claim a/b", "Pending", healthy=False, message="s", rejected=rejected), [])

    output = capsys.readouterr().out
    assert "and 2 more" in output
    assert limits.REJECTED_SHOWN == sum(line.startswith("  ") for line in output.splitlines()) - 2


@pytest.mark.bound("yaml-file-nodes", "yaml-file-characters")
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text and the number of values are checked before objects are built."""
    assert yaml_limits.FILE.nodes == limits.YAML_FILE_NODES
    monkeypatch.setattr(yaml_limits, "FILE", replace(yaml_limits.FILE, nodes=10_000))  # the real limit takes seconds
    file = tmp_path / "a.yaml"
    file.write_text("[" + "1," * 10_001 + "]", encoding="utf-8")
    with pytest.raises(CommandError, match="10000 values"):
        read_all((str(file),))
    monkeypatch.setattr(limits, "YAML_FILE_CHARACTERS", 100)
    with pytest.raises(CommandError, match="more than 100 characters"):
        read_all((str(file),))
    monkeypatch.setattr("sys.stdin", io.StringIO("#" * 101))
    with pytest.raises(CommandError, match="standard input"):
        read_all(("-",))


@pytest.mark.bound("body-bytes", "annotation-bytes", "manager-bytes")
async def test_a_request_that_is_too_large_for_the_engine_is_refused(tmp_path: Path) -> None:
    """A body gets 413, a value of an object 422; a User-Agent is truncated."""
    store = Store(tmp_path / "engine.db")
    long_text = "m" * (limits.MANAGER_BYTES + 1)
    headers = {"Authorization": "Bearer t", "User-Agent": long_text}
    async with (
        serve(store, port=0, tls=None, token="t") as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session,
    ):
        sent: dict[str, tuple[str, Json]] = {
            "body": (NAMESPACES, {"metadata": {"name": "a", "labels": {"x": "y" * limits.BODY_BYTES}}}),
            "annotations": (
                NAMESPACES,
                {"metadata": {"name": "a", "annotations": {"x": "y" * limits.ANNOTATION_BYTES}}},
            ),
            "manager": (f"{NAMESPACES}?fieldManager={long_text}", {"metadata": {"name": "a"}}),
            "user agent": (NAMESPACES, {"metadata": {"name": "a", "labels": {"x": "y"}}}),
        }
        statuses = {}
        for what, (path, body) in sent.items():
            sent_body = io.BytesIO(json.dumps(body).encode())
            async with session.post(path, data=sent_body, headers={"Content-Type": "application/json"}) as response:
                statuses[what] = response.status
                output = json.loads(await response.text())
    store.close()

    assert {"body": 413, "annotations": 422, "manager": 422, "user agent": 201} == statuses
    assert ["m" * limits.MANAGER_BYTES] == [each["manager"] for each in output["metadata"]["managedFields"]]
