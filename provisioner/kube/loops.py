"""
Loops that run as long as the process: no exception ends one, and every exception is logged.

After a failed turn the loop continues, after a pause that grows to a limit.
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
"""More doublings than any pause needs to reach its limit; a float overflows after about a thousand."""


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the pause in seconds after so many failures in a row: `first`, doubled each time, up to `longest`."""
    return min(longest, first * 2.0 ** min(max(failures - 1, 0), _MOST_DOUBLINGS))


async def forever(name: str, turn: Callable[[], Awaitable[None]]) -> None:
    """Await `turn` repeatedly until cancelled. `name` identifies the loop in the log."""
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
