"""Events on objects, each said once: a reconciler that looks again ten times has nothing new to say nine times."""

from provisioner.kube.events import Recorder, without_amounts
from provisioner.model.kinds import Json

REMEMBERED = 4096


class Announcer:
    """Records Events, leaving out one that says what the last one about the same object said."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._last: dict[str, tuple[str, str]] = {}

    async def say(self, obj: Json, *, warning: bool, reason: str, message: str) -> bool:
        """Record the Event unless the last one about this object was the same but for amounts; whether it was new."""
        uid = obj["metadata"]["uid"]
        told = (reason, without_amounts(message))
        if self._last.get(uid) == told:
            return False
        if len(self._last) >= REMEMBERED:
            self._last.clear()
        self._last[uid] = told
        kind = "Warning" if warning else "Normal"
        await self._recorder.record(obj, type=kind, reason=reason, message=message)
        return True
