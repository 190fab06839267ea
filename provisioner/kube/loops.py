"""
The one rule for loops that run as long as the process: no exception ends one, and none is swallowed in silence.

An object, a key or a bug that makes one turn fail is logged and the loop goes on, after a pause that grows to a limit.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from provisioner import limits

log = structlog.get_logger()

FIRST_PAUSE = 0.05
LONGEST_PAUSE = limits.LOOP_PAUSE_SECONDS
"""Seconds."""

_MOST_DOUBLINGS = 32
"""More doublings than any pause needs to reach its limit; a float overflows after some thousand."""


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the pause in seconds after so many failures in a row: `first`, doubled each time, up to `longest`."""
    return min(longest, first * 2.0 ** min(max(failures - 1, 0), _MOST_DOUBLINGS))


async def forever(name: str, turn: Callable[[], Awaitable[None]]) -> None:
    """Await `turn` again and again until cancelled. `name` says in the log which loop it is."""
    failures = 0
    while True:
        try:
            await turn()
            failures = 0
        except Exception as error:  # the rule above
            failures += 1
            pause = backoff(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
            log.error("loop.turn_failed", loop=name, error=repr(error), again_in=pause, exc_info=error)
            await asyncio.sleep(pause)
