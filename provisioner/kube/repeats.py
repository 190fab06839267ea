"""What was said about an object last, so that a loop that tries again does not say it again."""

from collections.abc import Hashable

from provisioner import limits
from provisioner.kube.events import without_amounts

MOST = limits.EVENTS_REMEMBERED
"""Objects that are remembered; the one that was said something about longest ago is forgotten first."""


class Repeats:
    """The last message about each object. Two that differ in amounts and times alone are the same."""

    def __init__(self) -> None:
        self._last: dict[Hashable, str] = {}

    def is_new(self, about: Hashable, message: str) -> bool:
        """Whether the message differs from the last one about it, which it is from now on."""
        said = without_amounts(message)
        if self._last.get(about) == said:
            return False
        self._last.pop(about, None)
        while len(self._last) >= MOST:
            del self._last[next(iter(self._last))]
        self._last[about] = said
        return True

    def forget(self, about: Hashable) -> None:
        """It went well: the next message about it is new."""
        self._last.pop(about, None)
