"""
Threads for blocking calls, in lanes: one for each pool's disk, so that a hanging disk delays no other.

Reads wait for a bounded time, and not at all once the lane hangs. The threads are daemons: a system call that never
returns delays neither another lane nor the end of the process.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from csi import limits
from csi.errors import Unavailable

T = TypeVar("T")

READ_THREADS: Final = limits.READ_THREADS
"""Threads that read from one pool."""

READ_SECONDS: Final = 3.0
"""How long a read may take; a lane in which one takes longer hangs."""

STOP_SECONDS: Final = 5.0
"""How long a stop waits for threads that are still running, after the operations."""

MAX_WAITING: Final = limits.LANE_WAITING
"""Calls that wait in one lane."""


class _Lane:
    """A bounded number of threads that take calls in their order. Used on the event loop only."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._running: dict[threading.Thread, float] = {}
        # limit: lane-waiting
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()

    def submit(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Start the call now, or when a thread is free. Raises Unavailable when too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} calls wait for the disk of pool {self._name} already; try again")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        self._begin()
        return future

    @property
    def hangs(self) -> bool:
        """Report whether a call has been running for too long."""
        return any(time.monotonic() - started > READ_SECONDS for started in self._running.values())

    @property
    def idle(self) -> bool:
        """Report whether no call is running."""
        return not self._running and not self._waiting

    def close(self) -> list[threading.Thread]:
        """Start no more calls; return the running ones."""
        self._threads = 0
        return list(self._running)

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._threads:
            work, future = self._waiting.popleft()
            if future.cancelled():
                continue
            loop = asyncio.get_running_loop()
            thread = threading.Thread(target=self._call, args=(loop, work, future), name=self._name, daemon=True)
            self._running[thread] = time.monotonic()
            thread.start()

    def _call(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        """Run in the thread."""
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 # raised in the caller, whatever it is
            error = raised
        with contextlib.suppress(RuntimeError):  # the event loop has ended, and with it the waiting callers
            loop.call_soon_threadsafe(self._ended, threading.current_thread(), future, result, error)

    def _ended(
        self, thread: threading.Thread, future: "asyncio.Future[Any]", result: object, error: BaseException | None
    ) -> None:
        self._running.pop(thread, None)
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._begin()


class Workers:
    """The lanes. The lane of a pool is its UUID; "" is for what needs the disk of no pool."""

    def __init__(self, count: int) -> None:
        """`count` is how many operations work on one pool at a time."""
        self._count = count
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self.stopping = threading.Event()

    async def run(self, work: Callable[[], T], *, lane: str = "") -> T:
        """Change something on the machine; takes as long as it takes."""
        result: T = await self._lane("work", lane, self._count).submit(work)
        return result

    async def read(self, work: Callable[[], T], *, lane: str = "") -> T:
        """Read something. Raises Unavailable where that does not return in time, and at once where the lane hangs."""
        found = self._lane("read", lane, READ_THREADS)
        silent = Unavailable(
            f"the disk {f'of pool {lane} ' if lane else ''}has not responded for {READ_SECONDS:g} seconds; check it, "
            f"no other pool waits for it"
        )
        if found.hangs:
            raise silent
        future = found.submit(work)
        await asyncio.wait([future], timeout=READ_SECONDS)
        if not future.done():
            future.cancel()
            raise silent
        result: T = future.result()
        return result

    async def walk(self, lane: str, work: Callable[[], T]) -> T:
        """
        Read a tree, which takes as long as there are files in it, one at a time in each lane.

        `work` has to end soon once `stopping` is set.
        """
        result: T = await self._lane("walk", lane, 1).submit(work)
        return result

    def _lane(self, kind: str, lane: str, threads: int) -> _Lane:
        """Return the lane; others that are idle are forgotten, so that there are no more than there are disks."""
        if (kind, lane) not in self._lanes:
            self._lanes = {key: each for key, each in self._lanes.items() if not each.idle}
            self._lanes[kind, lane] = _Lane(lane, threads)
        return self._lanes[kind, lane]

    def close(self) -> None:
        """Wait for running calls, for a bounded time."""
        self.stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in [thread for lane in self._lanes.values() for thread in lane.close()]:
            thread.join(max(0.0, deadline - time.monotonic()))


def read_in_time(work: Callable[[], T]) -> T:
    """Read something before there are lanes. Raises TimeoutError where it does not return in time."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 # raised again below
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(READ_SECONDS)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"the disk has not responded for {READ_SECONDS:g} seconds")
    return results[0]
