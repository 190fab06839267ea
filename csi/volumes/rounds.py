"""Rounds of work on all pools, side by side: one whose disk hangs delays its own next round, and no other's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ROUND_SECONDS: Final = 30.0
"""How long a round waits for the slowest pool; that one's work goes on, and is joined by the next round."""


class Rounds(Generic[T]):
    """The running work, by pool. Used on the event loop only."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[T]] = {}

    async def run(self, works: Mapping[str, Callable[[], Awaitable[T]]]) -> list[T]:
        """
        Begin the work of each pool that is not going on already; return the results of those that end in time.

        Raises what one of them raised, after the others had their time, too.
        """
        for pool, work in works.items():
            if pool not in self._running:
                self._running[pool] = asyncio.ensure_future(work())
        joined = {pool: self._running[pool] for pool in works}
        if joined:
            await asyncio.wait(joined.values(), timeout=ROUND_SECONDS)
        ended = {pool: future for pool, future in joined.items() if future.done()}
        for pool in ended:
            del self._running[pool]
        for error in [error for future in ended.values() if (error := future.exception()) is not None]:
            raise error
        return [future.result() for future in ended.values()]
