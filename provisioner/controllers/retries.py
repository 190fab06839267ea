"""When work that failed may be tried again, whatever wakes its object in between."""

import asyncio

FIRST_SECONDS = 1.0
LAST_SECONDS = 60.0
"""Also the pause after an answer that will stay the same until somebody changes something."""


class Retries:
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

    def failed(self, about: str, wish: object, *, slowly: bool) -> float:
        """Note the failure; the pause from now, which doubles each time."""
        before, pause, _ = self._pauses.get(about, (None, 0.0, 0.0))
        pause = min(LAST_SECONDS, pause * 2) if before == wish and pause else FIRST_SECONDS
        pause = LAST_SECONDS if slowly else pause
        self._pauses[about] = (wish, pause, asyncio.get_running_loop().time() + pause)
        return pause

    def forget(self, about: str) -> None:
        """It went well, or is not wished for any more."""
        self._pauses.pop(about, None)
