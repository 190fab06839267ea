"""Each limit of provisioner/limits.py, driven over where no other test does: what the table says of it happens."""

import asyncio
import io
import json
import random
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
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, VOLUME, Json
from tests.unit.provisioner.kube.test_transport import served

SPACES = "/api/v1/namespaces"


def _claim(uid: str) -> Json:
    return {"metadata": {"name": "c", "namespace": "default", "uid": uid}}


@pytest.mark.bound("event-characters")
async def test_a_long_message_of_an_event_is_cut_off() -> None:
    """As upstream cuts it."""
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
async def test_what_was_said_of_too_many_objects_is_forgotten() -> None:
    """Then it is recorded again, which the API counts."""
    told: list[str] = []

    async def record(obj: Json, **_: Any) -> None:
        told.append(obj["metadata"]["uid"])

    announcer = EventDeduplicator(cast(Any, SimpleNamespace(record=record)))
    for number in [*range(limits.EVENTS_REMEMBERED + 1), 0]:
        await announcer.report(_claim(f"{number}"), warning=True, reason="R", message="m")

    assert limits.EVENTS_REMEMBERED + 2 == len(told)
    assert len(announcer._recorded) <= limits.EVENTS_REMEMBERED
    assert len(announcer._repeats._last) <= limits.EVENTS_REMEMBERED


@pytest.mark.bound("failures-remembered")
async def test_the_failure_of_long_ago_is_forgotten_first() -> None:
    """It is tried again at once, and the others are not."""
    retries = Backoff()
    for number in range(limits.FAILURES_REMEMBERED + 1):
        retries.failed(f"{number}", "wish", slowly=True)

    assert (retries.left("0", "wish"), retries.left("1", "wish") > 0) == (0.0, True)


@pytest.mark.bound("history-claims")
def test_the_history_of_a_volume_keeps_its_latest_claims() -> None:
    """The annotation has a bounded length."""
    many = [Owner("n", f"c{number}", f"{number}", "", "", "") for number in range(limits.HISTORY_CLAIMS + 1)]

    assert tuple(many[1:]) == history.read(history.write(many))


@pytest.mark.bound("loop-pause-seconds", "watch-pause-seconds", "driver-restart-seconds")
async def test_pauses_grow_to_a_longest_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a loop, of a watch and of a driver that ends at once."""
    pauses: list[float] = []
    spreads: list[float] = []

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

    def spread(_: float, ceiling: float) -> float:
        spreads.append(ceiling)
        return ceiling

    monkeypatch.setattr(random, "uniform", spread)
    broken = SimpleNamespace(list=lambda *_: fails())
    with pytest.raises(asyncio.CancelledError):
        await Reflector(cast(Any, broken), VOLUME, Cache(), changed=lambda _: None).run()
    assert (spreads[-1], max(spreads)) == (limits.WATCH_PAUSE_SECONDS, limits.WATCH_PAUSE_SECONDS)

    pauses.clear()
    driver = DriverProcess(cast(Any, SimpleNamespace(paths=tmp_path)), tell=lambda _: None)

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
async def test_a_long_line_of_the_drivers_log_stops_nobody(tmp_path: Path) -> None:
    """It is cut, the next ones are read, and the last ones are kept."""
    stream = asyncio.StreamReader(limit=limits.DRIVER_LINE_BYTES)
    lines = [f"{number}\n".encode() for number in range(limits.DRIVER_LINES + 1)]
    stream.feed_data(b"".join([lines[0], b"x" * 3 * limits.DRIVER_LINE_BYTES, b"\n", *lines[1:]]))
    stream.feed_eof()
    driver = DriverProcess(cast(Any, SimpleNamespace(paths=tmp_path, log_format="text")), tell=lambda _: None)
    await driver._relay(cast(Any, SimpleNamespace(stderr=stream)))
    driver.close_lifeline()

    assert [f"{number}" for number in range(1, limits.DRIVER_LINES + 1)] == list(driver._last_words)
    assert driver_process.KEPT_LINES == limits.DRIVER_LINES


@pytest.mark.bound("watch-line-bytes", "api-answer-bytes")
async def test_an_answer_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever server, a line of a watch as a whole answer."""
    monkeypatch.setattr("provisioner.kube.transport.LARGEST_LINE", 1000)
    monkeypatch.setattr(limits, "API_ANSWER_BYTES", 1000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(200):
            await response.write(b'"' + b"x" * 100)
        return response

    async with served(answer, tmp_path) as transport:
        for call in (_watched(transport), transport.get(VOLUME, "v"), transport.list(CLAIM)):
            with pytest.raises(ApiError, match=r"larger than any|has over 1000 bytes"):
                await call


async def _watched(transport: KubeTransport) -> None:
    async for _ in transport.watch(VOLUME, resource_version="1"):
        pass


class _Endless(inventory_pb2_grpc.InventoryServicer):
    """Lists that never end, and a pool that says too much."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def ListManifests(  # noqa: N802 # the protocol's name
        self, request: inventory_pb2.ListManifestsRequest, context: Any
    ) -> inventory_pb2.ListManifestsResponse:
        """One more page."""
        assert context
        self.asked.append(request.page_size)
        return inventory_pb2.ListManifestsResponse(next_page_token="more")

    async def ListPools(  # noqa: N802 # as above
        self, request: inventory_pb2.ListPoolsRequest, context: Any
    ) -> inventory_pb2.ListPoolsResponse:
        """One that is too large for an answer."""
        del request, context
        return inventory_pb2.ListPoolsResponse(pools=[inventory_pb2.Pool(problem="x" * limits.DRIVER_ANSWER_BYTES)])


@pytest.mark.bound("driver-answer-bytes", "driver-pages", "driver-page-entries")
async def test_a_driver_that_comes_to_no_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was broken into costs the controller a bounded answer, and bounded pages."""
    monkeypatch.setattr(limits, "DRIVER_PAGES", 3)
    endless = _Endless()  # type: ignore[abstract] # the rest is not called
    server = grpc.aio.server()
    inventory_pb2_grpc.add_InventoryServicer_to_server(endless, server)
    server.add_insecure_port(f"unix://{tmp_path}/s")
    await server.start()
    router = DriverClient(f"unix://{tmp_path}/s")
    try:
        for call in (router.list_manifests, router.list_pools):
            with pytest.raises(RpcError) as given_up:
                await call()
            assert given_up.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await router.close()
        await server.stop(None)

    assert [limits.DRIVER_PAGE_ENTRIES] * 3 == endless.asked


@pytest.mark.bound("rejected-shown")
def test_explain_counts_what_it_does_not_show(capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest volumes are named."""
    rejected = tuple(Reason("capacity", f"v{number}", "2Gi", "1Gi") for number in range(limits.REJECTED_SHOWN + 2))
    explain._print(Explanation("claim a/b", "Pending", healthy=False, message="s", rejected=rejected), [])

    said = capsys.readouterr().out
    assert "and 2 more" in said
    assert limits.REJECTED_SHOWN == sum(line.startswith("  ") for line in said.splitlines()) - 2


@pytest.mark.bound("yaml-file-nodes", "yaml-file-characters")
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its text and by its values, before anything is built of it."""
    file = tmp_path / "a.yaml"
    file.write_text("[" + "1," * (limits.YAML_FILE_NODES + 1) + "]", encoding="utf-8")
    with pytest.raises(CommandError, match=f"{limits.YAML_FILE_NODES} values"):
        read_all((str(file),))
    monkeypatch.setattr(limits, "YAML_FILE_CHARACTERS", 100)
    with pytest.raises(CommandError, match="more than 100 characters"):
        read_all((str(file),))
    monkeypatch.setattr("sys.stdin", io.StringIO("#" * 101))
    with pytest.raises(CommandError, match="standard input"):
        read_all(("-",))


@pytest.mark.bound("body-bytes", "annotation-bytes", "manager-bytes")
async def test_what_is_too_large_for_the_engine_is_refused(tmp_path: Path) -> None:
    """A body by 413, a value of an object by 422; what a program says of itself is cut off."""
    store = Store(tmp_path / "engine.db")
    long = "m" * (limits.MANAGER_BYTES + 1)
    headers = {"Authorization": "Bearer t", "User-Agent": long}
    async with (
        serve(store, port=0, tls=None, token="t") as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session,
    ):
        sent: dict[str, tuple[str, Json]] = {
            "body": (SPACES, {"metadata": {"name": "a", "labels": {"x": "y" * limits.BODY_BYTES}}}),
            "annotations": (SPACES, {"metadata": {"name": "a", "annotations": {"x": "y" * limits.ANNOTATION_BYTES}}}),
            "manager": (f"{SPACES}?fieldManager={long}", {"metadata": {"name": "a"}}),
            "user agent": (SPACES, {"metadata": {"name": "a", "labels": {"x": "y"}}}),
        }
        answers = {}
        for what, (path, body) in sent.items():
            sent_body = io.BytesIO(json.dumps(body).encode())
            async with session.post(path, data=sent_body, headers={"Content-Type": "application/json"}) as answer:
                answers[what] = answer.status
                said = json.loads(await answer.text())
    store.close()

    assert {"body": 413, "annotations": 422, "manager": 422, "user agent": 201} == answers
    assert ["m" * limits.MANAGER_BYTES] == [each["manager"] for each in said["metadata"]["managedFields"]]
