"""One operation at a time for each volume: retries join, others come back later, nothing is cut short."""

import asyncio

import pytest

from csi.errors import Aborted, NotFound, Unavailable
from csi.volumes.singleflight import SingleFlight


class Work:
    """Something slow that counts how often it is done."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        """Count, wait to be let go, count again."""
        self.started += 1
        await self.may_end.wait()
        self.finished += 1
        return self.finished


async def test_a_retry_joins_the_running_operation() -> None:
    """One execution, and both get its answer."""
    flight, work = SingleFlight(), Work()
    first = asyncio.create_task(flight.run("v", "create", work))
    second = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)
    work.may_end.set()

    assert [await first, await second] == [1, 1]
    assert work.started == 1


async def test_a_different_request_for_the_same_volume_is_told_to_come_back() -> None:
    """ABORTED, as CSI asks; another volume goes its own way."""
    flight, work = SingleFlight(), Work()
    running = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)

    with pytest.raises(Aborted, match="still running"):
        await flight.run("v", "delete", work)
    other = asyncio.create_task(flight.run("w", "delete", work))
    work.may_end.set()
    assert sorted(await asyncio.gather(running, other)) == [1, 2]


async def test_the_operation_outlives_a_caller_that_gives_up() -> None:
    """A deadline ends the waiting and not the work; the retry joins what is still running."""
    flight, work = SingleFlight(), Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await flight.run("v", "create", work)
    retry = asyncio.create_task(flight.run("v", "create", work))
    await asyncio.sleep(0)
    work.may_end.set()

    assert await retry == 1
    assert (work.started, work.finished, len(flight)) == (1, 1, 0)


async def test_a_failure_reaches_everybody_who_waits_and_is_forgotten() -> None:
    """The next request starts anew."""
    flight = SingleFlight()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise NotFound("gone")

    results = await asyncio.gather(*(flight.run("v", "x", fail) for _ in range(2)), return_exceptions=True)

    assert [type(each) for each in results] == [NotFound, NotFound]
    assert len(flight) == 0


async def test_stopping_waits_for_what_runs_and_takes_nothing_new() -> None:
    """A driver that ends does not leave a volume half made."""
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
