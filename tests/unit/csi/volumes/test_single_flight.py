"""One operation at a time for each volume: retries join it, other requests are refused, none is interrupted."""

import asyncio

import pytest
import structlog

from csi.backends.existing import ItemInUseError
from csi.errors import Aborted, NotFound, Unavailable
from csi.host.errors import HostError
from csi.volumes.singleflight import SingleFlight


class Work:
    """A slow operation that counts its executions."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        """Count, wait for the test, count again."""
        self.started += 1
        await self.may_end.wait()
        self.finished += 1
        return self.finished


async def test_a_retry_joins_the_running_operation() -> None:
    """There is one execution, and both callers get its result."""
    flight, work = SingleFlight(), Work()
    first = asyncio.create_task(flight.run("v", "create", work))
    second = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)
    work.may_end.set()

    assert [await first, await second] == [1, 1]
    assert work.started == 1


async def test_a_different_request_for_the_same_volume_is_aborted() -> None:
    """ABORTED, as CSI requires; an operation on another volume is not affected."""
    flight, work = SingleFlight(), Work()
    running = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)

    with pytest.raises(Aborted, match="still running"):
        await flight.run("v", "delete", work)
    other = asyncio.create_task(flight.run("w", "delete", work))
    work.may_end.set()
    assert sorted(await asyncio.gather(running, other)) == [1, 2]


async def test_the_operation_continues_after_its_caller_gives_up() -> None:
    """A deadline ends the waiting and not the work; the retry joins the running operation."""
    flight, work = SingleFlight(), Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await flight.run("v", "create", work)
    retry = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)
    work.may_end.set()

    assert await retry == 1
    assert (work.started, work.finished, len(flight)) == (1, 1, 0)


async def test_a_failure_reaches_all_waiting_callers_and_is_not_cached() -> None:
    """The next request starts a new operation."""
    flight = SingleFlight()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise NotFound("gone")

    results = await asyncio.gather(*(flight.run("v", "x", fail) for _ in range(2)), return_exceptions=True)

    assert [type(each) for each in results] == [NotFound, NotFound]
    assert len(flight) == 0


async def test_stopping_waits_for_running_operations_and_refuses_new_ones() -> None:
    """A driver that stops does not leave a volume half created."""
    flight, work = SingleFlight(), Work()
    running = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)
    draining = asyncio.create_task(flight.drain())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await flight.run("w", "create", work)
    assert not draining.done()
    work.may_end.set()
    await draining

    assert await running == 1


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (NotFound("no such volume"), []),
        (ItemInUseError("unmount it first"), []),
        (HostError("the disk failed"), ["operation.failed"]),
        (KeyError("a bug"), ["operation.failed"]),
    ],
    ids=repr,
)
async def test_a_failure_is_logged_and_a_refusal_is_not(error: Exception, events: list[str]) -> None:
    """A refusal is for the caller; a failure is logged, since all callers may have given up."""

    async def fail() -> None:
        raise error

    with structlog.testing.capture_logs() as logged, pytest.raises(type(error)):
        await SingleFlight().run("v", "create", fail)
    assert [each["event"] for each in logged] == events
