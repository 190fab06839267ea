"""Keys are worked on one at a time each, and none is lost."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.kube.control import namespace_of
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


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), unique=True, max_size=30))
def test_groups_take_turns(keys: list[tuple[str, int]]) -> None:
    """Of those that have a key, each has one before another has its second; within a group the order is kept."""

    async def drain() -> list[tuple[str, int]]:
        queue: WorkQueue[tuple[str, int]] = WorkQueue(group=lambda key: key[0])
        for key in keys:
            queue.add(key)
        return [await queue.get() for _ in keys]

    got = asyncio.run(drain())
    for group in "abc":
        assert [key for key in got if key[0] == group] == [key for key in keys if key[0] == group]
    rounds = [sum(before[0] == key[0] for before in got[:at]) for at, key in enumerate(got)]
    assert rounds == sorted(rounds)


async def test_one_namespace_does_not_hold_up_another() -> None:
    """The claim of a small namespace comes second, whatever was there before it."""
    queue: WorkQueue[tuple[str, str]] = WorkQueue(group=namespace_of)
    for number in range(1000):
        queue.add(("large", str(number)))
    queue.add(("small", "only"))
    assert len(queue) == 1001
    assert [await queue.get() for _ in range(3)] == [("large", "0"), ("small", "only"), ("large", "1")]
