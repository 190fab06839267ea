"""
One operation at a time for each volume.

A retry of the same request joins the operation that is running; a different one is refused with ABORTED. The operation
continues when its caller stops waiting: a caller's deadline must not leave a volume half created.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog

from csi import limits
from csi.errors import Aborted, CsiError, Unavailable
from csi.host.errors import HostError

log = structlog.get_logger()

T = TypeVar("T")

MAX_IN_FLIGHT: Final = limits.OPERATIONS


class SingleFlight:
    """Running operations, by the volume they are about."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[object, asyncio.Task[Any]]] = {}
        self._stopping = False

    async def run(self, volume: str, request: object, work: Callable[[], Awaitable[T]]) -> T:
        """
        Return the result of `work`, started now or by an equal request before.

        `request` is compared for equality. Raises Aborted while a different one runs, Unavailable when there is no room
        or the driver stops.
        """
        running = self._running.get(volume)
        if running is not None:
            if running[0] != request:
                raise Aborted(f"another operation on volume {volume} is still running; try again")
            task = running[1]
        else:
            if self._stopping:
                raise Unavailable("the driver is stopping; try again")
            if len(self._running) >= MAX_IN_FLIGHT:
                raise Unavailable(f"{MAX_IN_FLIGHT} operations are running already; try again")
            task = asyncio.ensure_future(work())
            self._running[volume] = (request, task)
            task.add_done_callback(lambda done: self._finished(volume, done))
        result: T = await asyncio.shield(task)
        return result

    def _finished(self, volume: str, task: "asyncio.Task[Any]") -> None:
        del self._running[volume]
        error = None if task.cancelled() else task.exception()  # taken here, as its callers may all have gone
        is_refusal = isinstance(error, CsiError) or (isinstance(error, HostError) and error.is_refusal)
        if error is not None and not is_refusal:
            log.error("operation.failed", volume=volume, error=repr(error))

    def is_running(self, volume: str) -> bool:
        """Report whether an operation on the volume is running."""
        return volume in self._running

    def __len__(self) -> int:
        return len(self._running)

    async def drain(self) -> None:
        """Refuse new operations, and wait for the running ones."""
        self._stopping = True
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])
