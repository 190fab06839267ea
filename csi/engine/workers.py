"""Threads for what blocks: a bounded number for work, a few for looking, and some for each disk to walk its trees."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LOOKERS = 2


class Workers:
    """Two executors. A stuck mount can use up the first; stats and capacity still answer."""

    def __init__(self, count: int) -> None:
        self._work = ThreadPoolExecutor(count, thread_name_prefix="work")
        self._look = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
        self._walk: dict[str, ThreadPoolExecutor] = {}
        self.stopping = threading.Event()

    async def run(self, work: Callable[[], T]) -> T:
        """Change something on the machine."""
        return await asyncio.get_running_loop().run_in_executor(self._work, work)

    async def look(self, work: Callable[[], T]) -> T:
        """Only look at something."""
        return await asyncio.get_running_loop().run_in_executor(self._look, work)

    async def walk(self, lane: str, work: Callable[[], T]) -> T:
        """
        Read a tree, which takes as long as there are files in it, one at a time in each lane.

        A walk holds up nothing but its lane: one for each disk, so that one that hangs is alone. `work` has to end soon
        once `stopping` is set.
        """
        executor = self._walk.setdefault(lane, ThreadPoolExecutor(1, thread_name_prefix=f"walk-{lane}"))
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    def close(self) -> None:
        """Wait for what is running."""
        self.stopping.set()
        for executor in self._walk.values():
            executor.shutdown(cancel_futures=True)
        self._work.shutdown()
        self._look.shutdown()
