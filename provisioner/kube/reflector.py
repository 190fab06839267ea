"""Keeps one cache equal to the API server: list, watch, and list again when the watch can go no further."""

import asyncio
import random
from collections.abc import Callable

import structlog

from provisioner import limits
from provisioner.kube.cache import Cache, place_of
from provisioner.kube.errors import ApiError, Gone
from provisioner.kube.loops import backoff
from provisioner.kube.transport import Transport, WatchEvent
from provisioner.model.kinds import Json, Kind

log = structlog.get_logger()

Changed = Callable[[Json], None]
"""
Told of every object that changed or went, as it was and as it is.

As it was, because what it pointed at then (an owner, a volume) may have to be looked at when it no longer does.
"""

SHORTEST_BACKOFF = 0.2
LONGEST_BACKOFF = limits.WATCH_PAUSE_SECONDS
SHORT_LIFE = 5.0
"""A watch that ended sooner than this, in seconds, counts as a failure."""


class Reflector:
    """One kind's list and watch, for ever. `synced` is set once the first list is in."""

    def __init__(self, transport: Transport, kind: Kind, cache: Cache, *, changed: Changed) -> None:
        self._transport = transport
        self._kind = kind
        self._cache = cache
        self._changed = changed
        self._failures = 0
        self._version = ""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled: no answer of a server ends it."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Gone:
                self._version = ""
                log.info("watch.expired", kind=self._kind.plural)
            except ApiError as error:
                log.warning("watch.failed", kind=self._kind.plural, status=error.status, error=error.message)
                if error.status:  # without an answer nothing is known to be wrong with the place we had reached
                    self._version = ""
            except Exception as error:  # no bug and no answer ends the watch of a kind: start again from a list
                log.exception("watch.failed", kind=self._kind.plural, error=repr(error))
                self._version = ""
            self._failures = self._failures + 1 if loop.time() - started < SHORT_LIFE else 0
            if self._failures:
                ceiling = backoff(self._failures + 1, first=SHORTEST_BACKOFF, longest=LONGEST_BACKOFF)
                await asyncio.sleep(random.uniform(SHORTEST_BACKOFF, ceiling))  # noqa: S311 # jitter, no secret

    async def _list(self) -> None:
        listing = await self._transport.list(self._kind)
        found = {place: obj for obj in listing.items if (place := self._place(obj))}
        for place in self._cache.places() - found.keys():
            if before := self._cache.remove(place):
                self._changed(before)
        for obj in found.values():
            before = self._cache.put(obj)
            if before is None or before["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                self._tell(before, obj)
        self._version = listing.resource_version
        self.synced.set()

    def _place(self, obj: Json) -> tuple[str, str] | None:
        """Where it belongs; None for an object that cannot be kept, which shall not keep the others out."""
        try:
            return place_of(obj)
        except (KeyError, TypeError, AttributeError) as error:
            log.warning("object.unreadable", kind=self._kind.plural, error=repr(error))
            return None

    async def _watch(self) -> None:
        """
        Follow the stream to its end.

        The place reached is kept with every event: a stream that breaks is taken up there, and not so far back that
        the cache would show what is over. An event that makes no sense means that something was missed: list again.
        """
        async for event in self._transport.watch(self._kind, resource_version=self._version):
            try:
                self._take(event)
            except (KeyError, TypeError, AttributeError) as error:
                raise ApiError(500, "InvalidAnswer", f"a watch event cannot be read: {error!r}") from None

    def _take(self, event: WatchEvent) -> None:
        obj = event.object
        version: str = obj["metadata"]["resourceVersion"]
        if event.type == "DELETED":
            self._tell(self._cache.remove(place_of(obj)), obj)
        elif event.type != "BOOKMARK":
            self._tell(self._cache.put(obj), obj)
        self._version = version

    def _tell(self, before: Json | None, obj: Json) -> None:
        if before is not None:
            self._changed(before)
        self._changed(obj)
