"""Keeps one cache equal to the API server: list, watch, and list again when the watch can go no further."""

import asyncio
import random
from collections.abc import Callable

import structlog

from provisioner.kube.cache import Cache, place_of
from provisioner.kube.errors import ApiError, Gone
from provisioner.kube.transport import Transport, WatchEvent
from provisioner.model.kinds import Json, Kind

log = structlog.get_logger()

Changed = Callable[[Json], None]
"""Told of an object that changed or went: the new one, or the last one known."""

SHORTEST_BACKOFF = 0.2
LONGEST_BACKOFF = 30.0
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
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        version = ""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                version = version or await self._list()
                version = await self._watch(version)
            except Gone:
                version = ""
                log.info("watch.expired", kind=self._kind.plural)
            except ApiError as error:
                log.warning("watch.failed", kind=self._kind.plural, status=error.status, error=error.message)
                version = version if error.status == 0 else ""
            self._failures = self._failures + 1 if loop.time() - started < SHORT_LIFE else 0
            if self._failures:
                ceiling = min(LONGEST_BACKOFF, SHORTEST_BACKOFF * 2**self._failures)
                await asyncio.sleep(random.uniform(SHORTEST_BACKOFF, ceiling))  # noqa: S311 # jitter, no secret

    async def _list(self) -> str:
        listing = await self._transport.list(self._kind)
        gone = self._cache.places() - {place_of(obj) for obj in listing.items}
        for place in gone:
            if before := self._cache.remove(place):
                self._changed(before)
        for obj in listing.items:
            before = self._cache.put(obj)
            if before is None or before["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._changed(obj)
        self.synced.set()
        return listing.resource_version

    async def _watch(self, version: str) -> str:
        """Follow the stream to its end; the last resourceVersion seen."""
        async for event in self._transport.watch(self._kind, resource_version=version):
            try:
                version = self._take(event)
            except (KeyError, TypeError) as error:
                log.warning("watch.unreadable", kind=self._kind.plural, error=repr(error))
        return version

    def _take(self, event: WatchEvent) -> str:
        obj = event.object
        version: str = obj["metadata"]["resourceVersion"]
        if event.type == "BOOKMARK":
            return version
        if event.type == "DELETED":
            self._cache.remove(place_of(obj))
        else:
            self._cache.put(obj)
        self._changed(obj)
        return version
