"""Keys are worked on one at a time each, and none is lost."""

import asyncio
import random

import pytest

from provisioner.kube.queue import FIRST_RETRY, WorkQueue


@pytest.mark.parametrize("seed", range(8))
async def test_no_key_is_worked_on_twice_at_once_and_every_change_is_seen(seed: int) -> None:
    """However adds and workers interleave, the last state of each key has been worked on at the end."""
    chance = random.Random(seed)  # noqa: S311 # the seed is the point
    queue: WorkQueue[str] = WorkQueue()
    state = dict.fromkeys("abcd", 0)
    seen = dict.fromkeys("abcd", -1)
    running: set[str] = set()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in running
            running.add(key)
            seen[key] = state[key]
            await asyncio.sleep(chance.random() * 0.002)
            running.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for _ in range(200):
        key = chance.choice("abcd")
        state[key] += 1
        queue.add(key) if chance.random() < 0.7 else queue.add_after(key, chance.random() * 0.01)
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while seen != state:
            await asyncio.sleep(0.005)
    for worker in workers:
        worker.cancel()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in results)


async def test_failures_come_back_later_and_later_until_one_goes_well() -> None:
    """The delay doubles with each failure of the key, and starts again after a success."""
    queue: WorkQueue[str] = WorkQueue()

    delays = [queue.retry("a") for _ in range(4)]
    queue.forget("a")

    assert [FIRST_RETRY * factor for factor in (1, 2, 4, 8)] == delays
    assert queue.retry("a") == FIRST_RETRY


async def test_of_two_delays_the_shorter_counts() -> None:
    """A key that is wanted soon does not wait for an older, longer wish."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)

    async with asyncio.timeout(5):
        assert await queue.get() == "a"
    assert len(queue) == 0


@pytest.mark.parametrize("turns", range(4))
async def test_a_worker_that_is_told_to_end_ends_even_when_a_key_comes_at_that_moment(turns: int) -> None:
    """Whatever turn of the loop it is told in; the key stays for another worker."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("later", 60)
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    queue.add("a")
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = worker.cancel()

    done = await asyncio.gather(worker, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError) == ended
