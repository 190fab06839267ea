"""A key is never processed twice at once, and none is lost."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.kube.control import namespace_of
from provisioner.kube.queue import FIRST_RETRY, WorkQueue


@pytest.mark.parametrize("seed", range(8))
async def test_no_key_is_processed_twice_at_once_and_no_change_is_missed(seed: int) -> None:
    """For any interleaving of adds and workers, the last state of each key is processed in the end."""
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


async def test_retry_delays_double_until_a_success() -> None:
    """The delay doubles with each failure of the key, and is reset by a success."""
    queue: WorkQueue[str] = WorkQueue()

    delays = [queue.retry("a") for _ in range(4)]
    queue.forget("a")

    assert [FIRST_RETRY * factor for factor in (1, 2, 4, 8)] == delays
    assert queue.retry("a") == FIRST_RETRY


async def test_of_two_delays_the_shorter_counts() -> None:
    """A short delay is not extended by an earlier, longer one."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)

    async with asyncio.timeout(5):
        assert await queue.get() == "a"
    assert len(queue) == 0


@pytest.mark.parametrize("iterations", range(4))
async def test_a_cancelled_worker_ends_even_when_a_key_arrives_at_that_moment(iterations: int) -> None:
    """This holds for any iteration of the event loop; the key stays for another worker."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("later", 60)
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    queue.add("a")
    for _ in range(iterations):
        await asyncio.sleep(0)
    ended = worker.cancel()

    done = await asyncio.gather(worker, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError) == ended


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), unique=True, max_size=30))
def test_groups_are_served_in_turn(keys: list[tuple[str, int]]) -> None:
    """Each group with keys is served once before any is served again; the order within a group is preserved."""

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


async def test_one_namespace_does_not_delay_another() -> None:
    """The claim of a small namespace is second, however many keys of another were added before."""
    queue: WorkQueue[tuple[str, str]] = WorkQueue(group=namespace_of)
    for number in range(1000):
        queue.add(("large", str(number)))
    queue.add(("small", "only"))
    assert len(queue) == 1001
    assert [await queue.get() for _ in range(3)] == [("large", "0"), ("small", "only"), ("large", "1")]
