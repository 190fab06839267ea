"""A reflector keeps one cache in step with the API server: list, watch, and list again when the watch cannot resume."""

import asyncio
import random
from collections.abc import Callable

import structlog

from provisioner import limits
from provisioner.kube.cache import Cache, namespaced_name
from provisioner.kube.errors import ApiError, Gone
from provisioner.kube.loops import backoff
from provisioner.kube.transport import Transport, WatchEvent
from provisioner.model.kinds import Json, Kind

log = structlog.get_logger()

Changed = Callable[[Json], None]
"""
A callback for the old and the new version of every object that was created, changed or deleted.

The old version is passed because an object that it referred to (an owner, a volume) may have to be reconciled when the
reference is gone.
"""

SHORTEST_BACKOFF = 0.2
LONGEST_BACKOFF = limits.WATCH_PAUSE_SECONDS
SHORT_LIFE = 5.0
"""A watch that ends sooner than this, in seconds, counts as a failure."""


class Reflector:
    """The list and watch of one kind. `synced` is set once the first list is in the cache."""

    def __init__(self, transport: Transport, kind: Kind, cache: Cache, *, changed: Changed) -> None:
        self._transport = transport
        self._kind = kind
        self._cache = cache
        self._changed = changed
        self._failures = 0
        self._version = ""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled: no response of the server ends it."""
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
                if error.status:  # without a response the resourceVersion is still good
                    self._version = ""
            except Exception as error:  # nothing ends the watch of a kind: start again from a list
                log.exception("watch.failed", kind=self._kind.plural, error=repr(error))
                self._version = ""
            self._failures = self._failures + 1 if loop.time() - started < SHORT_LIFE else 0
            if self._failures:
                ceiling = backoff(self._failures + 1, first=SHORTEST_BACKOFF, longest=LONGEST_BACKOFF)
                await asyncio.sleep(random.uniform(SHORTEST_BACKOFF, ceiling))  # noqa: S311 # jitter, no secret

    async def _list(self) -> None:
        listing = await self._transport.list(self._kind)
        found = {key: obj for obj in listing.items if (key := self._key_of(obj))}
        for key in self._cache.names() - found.keys():
            if before := self._cache.remove(key):
                self._changed(before)
        for obj in found.values():
            before = self._cache.put(obj)
            if before is None or before["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                self._notify(before, obj)
        self._version = listing.resource_version
        self.synced.set()

    def _key_of(self, obj: Json) -> tuple[str, str] | None:
        """Return the object's name; log an object without one and return None, so that the others are cached."""
        try:
            return namespaced_name(obj)
        except (KeyError, TypeError, AttributeError) as error:
            log.warning("object.unreadable", kind=self._kind.plural, error=repr(error))
            return None

    async def _watch(self) -> None:
        """
        Apply the events of the stream until it ends.

        The resourceVersion is stored with every event, so that a broken stream resumes there and the cache never goes
        back to an earlier state. An event that cannot be read raises ApiError, after which the kind is listed again.
        """
        async for event in self._transport.watch(self._kind, resource_version=self._version):
            try:
                self._apply(event)
            except (KeyError, TypeError, AttributeError) as error:
                raise ApiError(500, "InvalidAnswer", f"a watch event cannot be read: {error!r}") from None

    def _apply(self, event: WatchEvent) -> None:
        obj = event.object
        version: str = obj["metadata"]["resourceVersion"]
        if event.type == "DELETED":
            self._notify(self._cache.remove(namespaced_name(obj)), obj)
        elif event.type != "BOOKMARK":
            self._notify(self._cache.put(obj), obj)
        self._version = version

    def _notify(self, before: Json | None, obj: Json) -> None:
        if before is not None:
            self._changed(before)
        self._changed(obj)
