"""Each limit of csi/limits.py: beyond it, the behaviour is the table's."""

import asyncio
import os
import threading
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue

from csi import limits
from csi.errors import BadEnvironment, InvalidArgument, OutOfRange, Unavailable
from csi.host import commands, files, trees
from csi.host.errors import CommandError
from csi.process import server
from csi.process.flags import Kubelet
from csi.process.registration import Registration
from csi.services import checks
from csi.v1 import csi_pb2, csi_pb2_grpc
from csi.volumes import manifest as manifests
from csi.volumes import paging
from csi.volumes.manifest import DamagedError, Holder, Manifest
from csi.volumes.node_record import POOLS, NodeRecords
from csi.volumes.pools import make_pool, open_pool, read_known
from csi.volumes.requests import seconds
from csi.volumes.singleflight import SingleFlight
from csi.volumes.sizes import exact_size
from csi.volumes.workers import Workers
from tests.unit.csi.services.driver import capability

UUID = "11111111-1111-1111-1111-111111111111"
MOMENT = "2026-01-01T00:00:00.000000Z"


def _manifest(**changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "id": "v",
        "name": "v",
        "pool": UUID,
        "size_bytes": 4096,
        "backend": "directory",
        "access_type": "mount",
        "fs_type": "",
        "fs_uuid": "",
        "enforced": False,
        "provisioning": "thin",
        "parameters": {},
        "state": "ready",
        "created": MOMENT,
    }
    return Manifest(**{**facts, **changes})


def _refuses(check: Any, accepted: Any, refused: Any) -> None:
    """Assert that the largest value is accepted, and a larger one refused."""
    check(accepted)
    with pytest.raises(InvalidArgument):
        check(refused)


@pytest.mark.bound("name-bytes", "path-bytes", "file-name-bytes", "map-bytes", "flag-bytes")
def test_text_in_a_request_has_a_maximum_length() -> None:
    """The length counts in bytes, not characters: the largest text is accepted, one byte more is refused."""
    name, path, file_name, entries, flags = (
        limits.NAME_BYTES,
        limits.PATH_BYTES,
        limits.FILE_NAME_BYTES,
        limits.MAP_BYTES,
        limits.FLAG_BYTES,
    )
    long = "/a" * (path // 2)
    _refuses(lambda text: checks.text(text, "name"), "é" * (name // 2), "é" * (name // 2 + 1))
    _refuses(lambda text: checks.path(text, "path"), long + "/" * (path - len(long)), long + "/b")
    _refuses(lambda text: checks.path(text, "path"), "/" + "x" * file_name, "/" + "x" * (file_name + 1))
    _refuses(lambda found: checks.mapping(found, "map"), {"k": "v" * (entries - 1)}, {"k": "v" * entries})
    _refuses(lambda text: checks.capability(capability(flags=[text])), "x" * flags, "x" * (flags + 1))


@pytest.mark.bound("duration-digits", "retention-seconds")
def test_a_duration_has_a_maximum() -> None:
    """Both the number of digits and the time are limited."""
    hours = limits.RETENTION_SECONDS // 3600
    _refuses(seconds, f"{hours}h", f"{hours + 1}h")
    _refuses(seconds, f"{'0' * limits.DURATION_DIGITS}s", f"{'0' * (limits.DURATION_DIGITS + 1)}s")


@pytest.mark.bound("volume-bytes")
def test_a_volume_has_a_maximum_size() -> None:
    """The maximum is beyond the size of any disk."""
    assert limits.VOLUME_BYTES == exact_size(required=limits.VOLUME_BYTES, limit=0, minimum=1)
    with pytest.raises(OutOfRange):
        exact_size(required=limits.VOLUME_BYTES + 1, limit=0, minimum=1)


@pytest.mark.bound("request-bytes", "calls")
async def test_a_socket_limits_the_number_and_size_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call more, or a larger one, is refused at once; the waiting calls are answered."""
    monkeypatch.setattr(limits, "CALLS", 2)
    released, waiting = asyncio.Event(), 0

    async def delete(_: str) -> None:
        nonlocal waiting
        waiting += 1
        await released.wait()

    settings = SimpleNamespace(socket=tmp_path / "s.sock", test_attach_limit=0)
    serving = await server._on_socket(cast(Any, settings), cast(Any, SimpleNamespace(delete=delete)))
    async with grpc.aio.insecure_channel(f"unix://{settings.socket}") as channel:
        stub = csi_pb2_grpc.ControllerStub(channel)
        request = csi_pb2.DeleteVolumeRequest(volume_id="v")
        calls = [asyncio.ensure_future(_code(stub.DeleteVolume(request, timeout=20))) for _ in range(2)]
        while waiting < 2:
            await asyncio.sleep(0.005)
        refused = await _code(stub.DeleteVolume(request, timeout=20))
        released.set()
        answers = await asyncio.gather(*calls)
        large = csi_pb2.CreateVolumeRequest(parameters={"x": "y" * limits.REQUEST_BYTES})
        too_large = await _code(stub.CreateVolume(large, timeout=20))
    await serving.stop(0)

    assert ("RESOURCE_EXHAUSTED", ["OK", "OK"], "RESOURCE_EXHAUSTED") == (refused, answers, too_large)


async def _code(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.bound("operations")
async def test_the_number_of_concurrent_operations_is_limited() -> None:
    """One more operation gets Unavailable, and joins no running one."""
    flight, released = SingleFlight(), asyncio.Event()
    running = [
        asyncio.ensure_future(flight.run(f"v{number}", "x", released.wait)) for number in range(limits.OPERATIONS)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await flight.run("one more", "x", released.wait)
    released.set()
    await asyncio.gather(*running)

    assert await flight.run("one more", "x", released.wait)


@pytest.mark.bound("page-entries", "page-bytes", "omitted-entry-reports")
def test_a_page_has_a_maximum_size_and_a_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries and bytes are limited; an entry too large for a page is omitted, and logged once while remembered."""
    names = [f"{number:05}" for number in range(limits.PAGE_ENTRIES + 1)]
    entries, token = paging.page(names, key=str, size=0, token="", render=_value)
    rest, end = paging.page(names, key=str, size=0, token=token, render=_value)
    assert (limits.PAGE_ENTRIES, 1, "") == (len(entries), len(rest), end)

    half = "x" * (limits.PAGE_BYTES // 2)
    entries, token = paging.page(["a", "b"], key=str, size=0, token="", render=lambda _: _value(half))
    assert (1, True) == (len(entries), bool(token))

    monkeypatch.setattr(paging, "_omitted", deque(maxlen=limits.OMITTED_ENTRY_REPORTS))
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            paging.page([*names, "large"], key=str, size=0, token="", render=lambda _: _value(2 * half + "x" * 9))
    assert len(logged) == 2 * (limits.OMITTED_ENTRY_REPORTS + 2)
    assert len(paging._omitted) == limits.OMITTED_ENTRY_REPORTS


def _value(text: str) -> StringValue:
    return StringValue(value=text)


@pytest.mark.bound("manifest-bytes", "manifest-text-bytes")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes().ljust(limits.MANIFEST_BYTES + 1)),
        lambda path: manifests.write(path.parent, _manifest(parameters={"x": "y" * limits.MANIFEST_TEXT_BYTES})),
        lambda path: manifests.write(
            path.parent, _manifest(ledger=[Holder({"x": "y" * limits.MANIFEST_TEXT_BYTES}, MOMENT)])
        ),
    ],
)
def test_a_manifest_that_is_too_large_is_damaged(tmp_path: Path, damage: Any) -> None:
    """Both the file and its texts are limited; a manifest of the maximum size is read."""
    manifests.write(tmp_path, _manifest())
    path = tmp_path / manifests.FILE
    path.write_bytes(path.read_bytes().ljust(limits.MANIFEST_BYTES))
    assert _manifest() == manifests.read(tmp_path)

    damage(path)
    with pytest.raises(DamagedError):
        manifests.read(tmp_path)


@pytest.mark.bound("manifest-owners")
def test_a_manifest_contains_its_latest_holders() -> None:
    """The oldest holder is removed when one more is added."""
    manifest = _manifest()
    for number in range(limits.MANIFEST_OWNERS + 2):
        manifest = manifest.owned_by({"who": f"{number}"}, now=MOMENT)

    assert [f"{number}" for number in range(1, limits.MANIFEST_OWNERS + 1)] == [
        each.labels["who"] for each in manifest.ledger[-limits.MANIFEST_OWNERS :]
    ][: limits.MANIFEST_OWNERS]
    assert len(manifest.ledger) == limits.MANIFEST_OWNERS


@pytest.mark.bound("node-record-bytes", "known-pools-bytes")
def test_records_that_are_too_large_are_ignored(tmp_path: Path) -> None:
    """A volume can be unstaged without its record; the driver needs the node's list of pools, and reports an error."""
    (tmp_path / f"{UUID}.v.json").write_bytes(b'{"staging":"/s"}'.ljust(limits.NODE_RECORD_BYTES))
    (tmp_path / f"{UUID}.w.json").write_bytes(b'{"staging":"/s"}'.ljust(limits.NODE_RECORD_BYTES + 1))
    (tmp_path / POOLS).write_bytes(UUID.encode().ljust(limits.KNOWN_POOLS_BYTES + 1))
    records = NodeRecords(tmp_path)
    assert (True, False, False) == (records.knows(f"{UUID}.v"), records.knows(f"{UUID}.w"), records.knows_pool(UUID))

    known = tmp_path / "known.json"
    known.write_bytes(b"{}".ljust(limits.KNOWN_POOLS_BYTES))
    assert {} == read_known(known)
    known.write_bytes(b"{}".ljust(limits.KNOWN_POOLS_BYTES + 1))
    with pytest.raises(BadEnvironment, match=r"known\.json"):
        read_known(known)


@pytest.mark.bound("pool-file-bytes", "pool-name-characters")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.ljust(limits.POOL_FILE_BYTES + 1),
        lambda text: text.replace('"p"', f'"{"p" * (limits.POOL_NAME_CHARACTERS + 1)}"'),
    ],
)
def test_a_pool_with_a_pool_file_that_is_too_large_is_not_served(tmp_path: Path, damage: Any) -> None:
    """The error has the path of the pool."""
    pool = make_pool(tmp_path / "a", name="p", capacity_bytes=None, known={})
    path = pool.path / "pool.json"
    assert pool == open_pool(pool.path, {})

    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(BadEnvironment, match="/a"):
        open_pool(pool.path, {})


@pytest.mark.bound("pem-bytes")
def test_a_pem_file_has_a_maximum_size(tmp_path: Path) -> None:
    """The limit also applies through a symbolic link, as in a mounted ConfigMap."""
    (tmp_path / "ca").write_bytes(b"x" * limits.PEM_BYTES)
    (tmp_path / "link").symlink_to("ca")
    assert limits.PEM_BYTES == len(files.read_through_links(tmp_path / "link", most=limits.PEM_BYTES))

    (tmp_path / "ca").write_bytes(b"x" * (limits.PEM_BYTES + 1))
    with pytest.raises(ValueError, match="1Mi"):
        files.read_through_links(tmp_path / "link", most=limits.PEM_BYTES)


@pytest.mark.bound("program-characters")
def test_the_end_of_a_programs_output_is_retained() -> None:
    """The last line is the most useful one."""
    with pytest.raises(CommandError) as failed:
        commands.run(
            ["bash", "-c", f"head -c {2 * limits.PROGRAM_CHARACTERS} /dev/zero | tr '\\0' x >&2; echo why >&2; exit 3"],
            limit=commands.Limit.QUERY,
        )

    assert limits.PROGRAM_CHARACTERS == len(failed.value.stderr)
    assert failed.value.stderr.endswith("xwhy\n")


@pytest.mark.bound("open-directories", "walk-names")
def test_a_walk_skips_names_beyond_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the directories that are kept open, a limited number of names is remembered."""
    monkeypatch.setattr(trees, "MOST_OPEN", 2)
    monkeypatch.setattr(trees, "MOST_NAMES", 10)
    deep = tmp_path / "a" / "b" / "c"
    for number in range(100):
        (deep / f"{number:03}").mkdir(parents=True)
    shallow = tmp_path / "z"
    for number in range(100):
        (shallow / f"{number:03}").mkdir(parents=True)
    directory = os.open(tmp_path, os.O_RDONLY)
    found = sum(1 for _ in trees.walk(directory))
    os.close(directory)

    assert 106 <= found < 206


@pytest.mark.bound("removal-batch")
def test_a_removal_continues_after_its_first_batch(tmp_path: Path) -> None:
    """The whole tree is removed."""
    for number in range(limits.REMOVAL_BATCH + 1):
        (tmp_path / "tree" / "in").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / "in" / f"{number}").touch()
    files.remove_tree(tmp_path, tmp_path / "tree")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.bound("read-threads")
async def test_a_read_only_call_waits_for_a_free_thread() -> None:
    """It runs when another one ends."""
    workers, gate = Workers(1), threading.Semaphore(0)
    calls = [asyncio.ensure_future(workers.read(lambda: gate.acquire(timeout=20))) for _ in range(limits.READ_THREADS)]
    waiting = asyncio.ensure_future(workers.read(lambda: True))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    gate.release()
    assert await waiting
    gate.release(limits.READ_THREADS)
    await asyncio.gather(*calls)
    workers.close()


@pytest.mark.bound("lane-waiting")
async def test_a_call_beyond_the_queue_of_a_disk_is_refused_at_once() -> None:
    """The disk of another pool is not affected."""
    workers, gate = Workers(1), threading.Semaphore(0)
    calls = [asyncio.ensure_future(workers.run(lambda: gate.acquire(timeout=20), lane="p"))]
    await asyncio.sleep(0)
    calls += [asyncio.ensure_future(workers.run(lambda: True, lane="p")) for _ in range(limits.LANE_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="try again"):
        await workers.run(lambda: True, lane="p")
    assert await workers.run(lambda: True, lane="other")
    gate.release()
    assert all(await asyncio.gather(*calls))
    workers.close()


@pytest.mark.bound("registration-doublings")
async def test_a_refused_registration_is_retried_after_a_bounded_pause(tmp_path: Path) -> None:
    """The pause is limited for any number of refusals."""
    registration = Registration(Kubelet(tmp_path, tmp_path / "csi.sock", 2.0))
    registration._refusals = 10_000

    assert registration._pause() == 2.0 * 2**limits.REGISTRATION_DOUBLINGS


def test_the_limits_in_the_table_are_the_ones_in_use() -> None:
    """The constants of the modules are the values of the table."""
    assert (checks.MAP_LIMIT, manifests.MAX_BYTES, trees.MOST_NAMES) == (
        limits.TABLE["map-bytes"].value,
        limits.TABLE["manifest-bytes"].value,
        limits.TABLE["walk-names"].value,
    )
