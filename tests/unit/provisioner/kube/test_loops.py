"""No exception ends a loop that runs as long as the process, and its pauses are valid for any number of failures."""

import asyncio

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from provisioner.kube import loops
from provisioner.kube.cache import Caches
from provisioner.kube.loops import backoff, forever
from provisioner.kube.queue import LAST_RETRY, WorkQueue
from provisioner.kube.reflector import Reflector
from provisioner.model.kinds import VOLUME
from tests.unit.provisioner.kube.scripted import Scripted


@given(failures=st.integers(min_value=0, max_value=10**9))
def test_a_pause_never_overflows_and_never_decreases(failures: int) -> None:
    """For any number of failures it is between the first and the longest, and no shorter than the one before."""
    pause = backoff(failures, first=0.05, longest=30.0)

    assert 0.05 <= pause <= 30.0
    assert pause <= backoff(failures + 1, first=0.05, longest=30.0)


@pytest.mark.bound("retry-seconds")
async def test_a_key_may_fail_more_often_than_a_float_can_double() -> None:
    """The queue continues with the longest delay; other keys are not affected."""
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.retry("bad") for _ in range(3000)]

    assert delays[-1] == LAST_RETRY
    assert queue.retry("good") < 1


async def test_a_loop_continues_after_any_exception_and_logs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes programming errors; a turn that succeeds resets the pauses."""
    monkeypatch.setattr(loops, "FIRST_PAUSE", 0.001)
    errors = [OverflowError("big"), KeyError("x"), RuntimeError("bug"), RecursionError(), MemoryError()]
    turns = 0
    over = asyncio.Event()

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns <= len(errors):
            raise errors[turns - 1]
        over.set()
        await asyncio.sleep(60)

    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(forever("a test", turn))
        async with asyncio.timeout(10):
            await over.wait()
        running.cancel()
        await asyncio.wait([running])

    assert running.cancelled()
    assert [each["error"] for each in logged] == [repr(each) for each in errors]
    assert {each["loop"] for each in logged} == {"a test"}


async def test_a_watch_continues_after_an_exception_of_its_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reflector lists again, and its cache becomes correct."""
    monkeypatch.setattr("provisioner.kube.reflector.SHORTEST_BACKOFF", 0.001)
    server = Scripted(0)
    server.faulty = False
    server.put("a", 1)
    caches = Caches()
    calls = 0

    def changed(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OverflowError("a bug")

    reflector = Reflector(server, VOLUME, caches[VOLUME], changed=changed)  # type: ignore[arg-type]
    running = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        assert caches[VOLUME].get("a") is not None
    finally:
        running.cancel()
        await asyncio.wait([running])
