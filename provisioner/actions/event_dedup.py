"""Events on objects, each said once: a reconciler that looks again ten times has nothing new to say nine times."""

import asyncio

from provisioner.kube.events import Recorder
from provisioner.kube.repeats import MOST, Repeats
from provisioner.model.kinds import Json

AGAIN_SECONDS = 1800.0
"""What still holds is recorded again then: a cluster drops an Event an hour after it was written last."""


class EventDeduplicator:
    """Records Events, leaving out one that says what the last one about the same object said a while ago."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._repeats = Repeats()
        self._recorded: dict[str, float] = {}

    async def say(self, obj: Json, *, warning: bool, reason: str, message: str) -> bool:
        """Record the Event unless the last one about this object was the same but for amounts; whether it was new."""
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
