"""Threads for what blocks: a bounded number for work, and a few of their own for looking, which never wait for it."""

import asyncio
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

    async def run(self, work: Callable[[], T]) -> T:
        """Change something on the machine."""
        return await asyncio.get_running_loop().run_in_executor(self._work, work)

    async def look(self, work: Callable[[], T]) -> T:
        """Only look at something."""
        return await asyncio.get_running_loop().run_in_executor(self._look, work)

    def close(self) -> None:
        """Wait for what is running."""
        self._work.shutdown()
        self._look.shutdown()
