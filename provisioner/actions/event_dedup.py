"""Record Events on objects, each only once, however often a reconciler runs."""

import asyncio

from provisioner.kube.events import Recorder
from provisioner.kube.repeats import MOST, Repeats
from provisioner.model.kinds import Json

AGAIN_SECONDS = 1800.0
"""The interval at which an unchanged Event is recorded again: a cluster deletes Events after an hour."""


class EventDeduplicator:
    """Records Events, and skips one that is equal to the last one about the same object."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._repeats = Repeats()
        self._recorded: dict[str, float] = {}

    async def report(self, obj: Json, *, warning: bool, reason: str, message: str) -> bool:
        """Record the Event unless only amounts differ from the last one about this object; return whether it is new."""
        uid, now = obj["metadata"]["uid"], asyncio.get_running_loop().time()
        is_new = self._repeats.is_new(uid, f"{reason}: {message}")
        if not is_new and now - self._recorded.get(uid, now) < AGAIN_SECONDS:
            return False
        self._recorded.pop(uid, None)
        while len(self._recorded) >= MOST:
            del self._recorded[next(iter(self._recorded))]
        self._recorded[uid] = now
        await self._recorder.record(obj, type="Warning" if warning else "Normal", reason=reason, message=message)
        return is_new
