"""What every handler works with: the store, the one thread that writes, and the bell that wakes watches."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from provisioner.embedded.apiserver.store.store import Store

Result = TypeVar("Result")


class Broadcast:
    """Wakes everyone who waits, once; whoever waits later waits for the next ring."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Is set at the next ring; take it before looking at what it announces."""
        return self._next

    def ring(self) -> None:
        """Wake those who wait."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()


class Context:
    """One running server. Writes go to a thread of their own, so that waiting for the disk stops nobody's reads."""

    def __init__(self, store: Store, *, bookmark_seconds: float) -> None:
        self.store = store
        self.bookmark_seconds = bookmark_seconds
        self.bell = Broadcast()
        self.closing = False
        # unbounded: one write for each request that waits for it
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._unsubscribe: Callable[[], None] = lambda: None

    async def write(self, action: Callable[[], Result]) -> Result:
        """Run something that writes to the store; what it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, action)

    def start(self) -> None:
        """Listen to the store; call it in the loop that serves."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self.bell.ring)

        self._unsubscribe = self.store.subscribe(wake)

    def end_watches(self) -> None:
        """Let every watch end in order, as it would at its timeout."""
        self.closing = True
        self.bell.ring()

    def stop(self) -> None:
        """Finish the writes that began, and stop listening."""
        self._writer.shutdown(wait=True)
        self._unsubscribe()


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
