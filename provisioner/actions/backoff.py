"""Backoff of failed work, regardless of events that trigger its object in between."""

import asyncio

from provisioner import limits

FIRST_SECONDS = 1.0
LAST_SECONDS = 60.0
"""The longest backoff, also after an answer that stays the same until an object is changed."""


MOST = limits.FAILURES_REMEMBERED
"""The number of objects that are remembered; the one that failed longest ago is forgotten first."""


class Backoff:
    """
    Backoff by object and request: another request of the same object need not wait.

    A reconciler is triggered by its own writes; without this it would call the driver again each time.
    """

    def __init__(self) -> None:
        self._pauses: dict[str, tuple[object, float, float]] = {}

    def left(self, about: str, request: object) -> float:
        """Return the seconds until the request may be retried; 0 means at once."""
        before, _, until = self._pauses.get(about, (None, 0.0, 0.0))
        return max(0.0, until - asyncio.get_running_loop().time()) if before == request else 0.0

    def has_failed(self, about: str, request: object) -> bool:
        """Report whether the request has failed before."""
        return about in self._pauses and self._pauses[about][0] == request

    def failed(
        self, about: str, request: object, *, slowly: bool, first: float | None = None, last: float | None = None
    ) -> float:
        """
        Record a failure; return the backoff in seconds, which doubles each time from `first` to `last`.

        With `slowly` it is `last` at once.
        """
        first = FIRST_SECONDS if first is None else first
        last = LAST_SECONDS if last is None else last
        before, pause, _ = self._pauses.pop(about, (None, 0.0, 0.0))
        pause = min(last, pause * 2) if before == request and pause else first
        pause = last if slowly else pause
        while len(self._pauses) >= MOST:
            del self._pauses[next(iter(self._pauses))]
        self._pauses[about] = (request, pause, asyncio.get_running_loop().time() + pause)
        return pause

    def forget(self, about: str) -> None:
        """Forget the failures of an object that succeeded, or is not requested any more."""
        self._pauses.pop(about, None)
