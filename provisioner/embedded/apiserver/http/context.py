"""What all handlers share: the store, the single writer thread, and the broadcast to watches."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from provisioner.embedded.apiserver.store.store import Store

Result = TypeVar("Result")


class Broadcast:
    """Triggers all current waiters once; later waiters wait for the next trigger."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """The event that the next trigger sets; read it before the state whose change it signals."""
        return self._next

    def trigger(self) -> None:
        """Set the event of all current waiters."""
        current, self._next = self._next, asyncio.Event()
        current.set()


class Context:
    """One running server. One thread does all writes, so that reads do not wait for the disk."""

    def __init__(self, store: Store, *, bookmark_seconds: float) -> None:
        self.store = store
        self.bookmark_seconds = bookmark_seconds
        self.broadcast = Broadcast()
        self.closing = False
        # unbounded: one write for each request that waits for it
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._unsubscribe: Callable[[], None] = lambda: None

    async def write(self, action: Callable[[], Result]) -> Result:
        """Run `action` in the writer thread and return its result; raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, action)

    def start(self) -> None:
        """Subscribe to the store; call this in the server's event loop."""
        loop = asyncio.get_running_loop()

        def trigger() -> None:
            loop.call_soon_threadsafe(self.broadcast.trigger)

        self._unsubscribe = self.store.subscribe(trigger)

    def end_watches(self) -> None:
        """End every watch in order, as at its timeout."""
        self.closing = True
        self.broadcast.trigger()

    def stop(self) -> None:
        """Finish the writes that began, and unsubscribe from the store."""
        self._writer.shutdown(wait=True)
        self._unsubscribe()


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
