"""When work that failed may be tried again, whatever wakes its object in between."""

import asyncio

from provisioner import limits

FIRST_SECONDS = 1.0
LAST_SECONDS = 60.0
"""Also the pause after an answer that will stay the same until somebody changes something."""


MOST = limits.FAILURES_REMEMBERED
"""Objects that are remembered; the one that failed longest ago is forgotten first."""


class Backoff:
    """
    Pauses by object and wish: one that wishes for something else need not wait.

    A reconciler's own writes wake it at once; without this it would ask the driver again each time.
    """

    def __init__(self) -> None:
        self._pauses: dict[str, tuple[object, float, float]] = {}

    def left(self, about: str, wish: object) -> float:
        """Seconds until the wish may be tried again; 0 means at once."""
        before, _, until = self._pauses.get(about, (None, 0.0, 0.0))
        return max(0.0, until - asyncio.get_running_loop().time()) if before == wish else 0.0

    def knows(self, about: str, wish: object) -> bool:
        """Whether the wish has failed before."""
        return about in self._pauses and self._pauses[about][0] == wish

    def failed(
        self, about: str, wish: object, *, slowly: bool, first: float | None = None, last: float | None = None
    ) -> float:
        """
        Note the failure; the pause from now in seconds, which doubles each time from `first` to `last`.

        `slowly`: the longest at once.
        """
        first = FIRST_SECONDS if first is None else first
        last = LAST_SECONDS if last is None else last
        before, pause, _ = self._pauses.pop(about, (None, 0.0, 0.0))
        pause = min(last, pause * 2) if before == wish and pause else first
        pause = last if slowly else pause
        while len(self._pauses) >= MOST:
            del self._pauses[next(iter(self._pauses))]
        self._pauses[about] = (wish, pause, asyncio.get_running_loop().time() + pause)
        return pause

    def forget(self, about: str) -> None:
        """It went well, or is not wished for any more."""
        self._pauses.pop(about, None)
