"""Wait for a condition: the only polling loop of the tests."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(
    check: Callable[[], Found],
    what: str,
    *,
    seconds: float = 60.0,
    pause: float = 0.3,
    retried: tuple[type[Exception], ...] = (),
    details: Callable[[], str] = str,
) -> Found:
    """
    Poll the check until its result is true, and return that.

    :param what: completes the sentence "timed out waiting until …"
    :param seconds: the timeout, for an expected state; it is no performance limit
    :param pause: seconds between two checks
    :param retried: exceptions of the check that count as "not yet"
    :param details: called after a timeout, for the end of the message

    Raises AssertionError after the timeout.
    """
    end = time.monotonic() + seconds
    while True:
        problem = ""
        try:
            if found := check():
                return found
        except retried as error:
            problem = f": {error}"
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting until {what}{problem}\n{details()}".rstrip())
        time.sleep(pause)


async def until_async(
    check: Callable[[], Awaitable[Found]],
    what: str,
    *,
    seconds: float = 30.0,
    pause: float = 0.02,
    retried: tuple[type[Exception], ...] = (),
) -> Found:
    """Poll the check until its result is true, and return that; see `until`."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*retried):
            if found := await check():
                return found
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting until {what}")
        await asyncio.sleep(pause)
