"""The last message about each object, so that a retry does not report the same message again."""

from collections.abc import Hashable

from provisioner import limits
from provisioner.kube.events import without_amounts

MOST = limits.EVENTS_REMEMBERED
"""Objects that are remembered; the one with the oldest message is forgotten first."""


class Repeats:
    """The last message about each object. Messages that differ only in amounts and times are equal."""

    def __init__(self) -> None:
        self._last: dict[Hashable, str] = {}

    def is_new(self, about: Hashable, message: str) -> bool:
        """Store the message as the last one about an object; report whether it differs from the one before."""
        text = without_amounts(message)
        if self._last.get(about) == text:
            return False
        self._last.pop(about, None)
        while len(self._last) >= MOST:
            del self._last[next(iter(self._last))]
        self._last[about] = text
        return True

    def forget(self, about: Hashable) -> None:
        """Forget the object's last message after a success: its next message is new."""
        self._last.pop(about, None)
