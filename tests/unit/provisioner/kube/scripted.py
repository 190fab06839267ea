"""A fake Transport to an API server of one kind, whose requests fail at random, from a seed."""

import asyncio
import random
from collections.abc import AsyncIterator

from provisioner.kube.errors import ApiError, Gone, Unavailable
from provisioner.kube.transport import Listing, WatchEvent
from provisioner.model.kinds import Json, Kind


class Scripted:
    """Objects by name and the log of their changes. While `faulty`, requests fail at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 # the seed is the point
        self.objects: dict[str, Json] = {}
        self.log: list[WatchEvent] = []
        self.version = 0
        self.compacted = 0
        self.faulty = True
        self.requests = 0
        self._changed = asyncio.Event()

    def put(self, name: str, value: int) -> None:
        """Create or change an object."""
        self.version += 1
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.objects[name] = {"metadata": {"name": name, "resourceVersion": str(self.version)}, "value": value}
        self._append(WatchEvent(kind, self.objects[name]))

    def remove(self, name: str) -> None:
        """Delete an object, if it exists."""
        if name in self.objects:
            self.version += 1
            deleted = self.objects.pop(name)
            metadata = {**deleted["metadata"], "resourceVersion": str(self.version)}
            self._append(WatchEvent("DELETED", {**deleted, "metadata": metadata}))

    def compact(self) -> None:
        """Compact the log: a watch from an earlier version gets Gone."""
        self.compacted = self.version

    def _append(self, event: WatchEvent) -> None:
        self.log.append(event)
        self._changed.set()

    async def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """List all objects, or fail."""
        assert (namespace, label_selector, field_selector) == ("", "", "")
        self.requests += 1
        if self.faulty and self.random.random() < 0.3:
            raise Unavailable(500, "InternalError", f"no {kind.plural} now")
        return Listing(list(self.objects.values()), str(self.version))

    async def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yield the log after a version; the stream may end, repeat an event, break or be too old."""
        self.requests += 1
        if int(resource_version) < self.compacted:
            raise Gone(410, "Expired", f"{kind.plural} from {resource_version} are gone")
        sent = int(resource_version)
        while True:
            for event in [each for each in self.log if int(each.object["metadata"]["resourceVersion"]) > sent]:
                chance = self.random.random() if self.faulty else 1.0
                if chance < 0.1:
                    return
                if chance < 0.2:
                    raise Unavailable(0, "Unavailable", "the stream broke")
                if chance < 0.25:
                    raise ApiError(500, "InternalError", "an internal error")
                if chance < 0.3:
                    yield WatchEvent("MODIFIED", {"metadata": None})
                yield event
                if chance < 0.4:
                    yield event
                sent = int(event.object["metadata"]["resourceVersion"])
            self._changed.clear()
            await self._changed.wait()
