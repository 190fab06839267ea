"""A queue of keys to reconcile: each at most once in it, never with two workers at once, and none is lost."""

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from provisioner import limits
from provisioner.kube.loops import backoff

K = TypeVar("K")

FIRST_RETRY = 0.05
LAST_RETRY = limits.RETRY_SECONDS


class _RoundRobin(Generic[K]):
    """Keys in groups that are served in turn; first in, first out within a group."""

    def __init__(self, group: Callable[[K], Hashable]) -> None:
        self._group = group
        self._groups: dict[Hashable, deque[K]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def append(self, key: K) -> None:
        # unbounded: each key at most once, and at most one key for each object
        self._groups.setdefault(self._group(key), deque()).append(key)

    def popleft(self) -> K:
        """Return the first key of the group whose turn it is, and move that group to the end."""
        group = next(iter(self._groups))
        keys = self._groups.pop(group)
        key = keys.popleft()
        if keys:
            self._groups[group] = keys
        return key


def _one_group(key: object) -> Hashable:
    del key
    return ""


class WorkQueue(Generic[K]):
    """
    A queue of keys with delays, on the running loop's clock.

    Groups of keys are served in turn, so that a few keys of one need not wait for all keys of another. Between `get`
    and `done` of a key, adding it again only marks it to be queued once more.
    """

    def __init__(self, group: Callable[[K], Hashable] = _one_group) -> None:
        """`group` returns the group of a key, such as its namespace; by default there is one group."""
        self._ready: _RoundRobin[K] = _RoundRobin(group)
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Queue the key now, or right after the current work on it."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue the key after so many seconds; of several delays for one key the shortest counts."""
        when = asyncio.get_running_loop().time() + seconds
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            heapq.heappush(self._later, (when, next(self._order), key))
            self._changed.set()

    def retry(self, key: K) -> float:
        """Queue the key after a delay that doubles with every failure; return the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff(failures, first=FIRST_RETRY, longest=LAST_RETRY)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the key's failures after a success: the next failure has the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Return the next key that is due; wait for one."""
        loop = asyncio.get_running_loop()
        while True:
            while self._later and self._later[0][0] <= loop.time():
                when, _, key = heapq.heappop(self._later)
                if self._due.get(key) == when:
                    del self._due[key]
                    self.add(key)
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._running.add(key)
                return key
            self._changed.clear()
            timeout = self._later[0][0] - loop.time() if self._later else None
            # Not wait_for: in Python 3.11 it loses a cancellation that coincides with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()

    def done(self, key: K) -> None:
        """End the work on a key; queue it again if it was added meanwhile."""
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif self._ready:
            self._changed.set()
