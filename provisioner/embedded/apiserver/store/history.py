"""The retained changes by kind, for watches and for the next pages of lists."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.records import Change
from provisioner.model.kinds import KINDS, Kind

SLACK: Final = 16
"""The history may exceed its limit by 1/SLACK of it before the surplus is dropped at once."""


class History:
    """A bounded log of changes. `compacted` is the newest version whose change may have been dropped."""

    def __init__(self, changes: Iterable[Change], *, keep: int, compacted: int) -> None:
        self._keep = keep
        self.compacted = compacted
        # limit: changes
        self._order: deque[int] = deque()
        self._by_kind: dict[Kind, list[Change]] = {kind: [] for kind in KINDS}
        for change in changes:
            self._order.append(change.version)
            self._by_kind[change.kind].append(change)

    def surplus(self, coming: int) -> int:
        """Return the version up to which to drop changes when `coming` more are added; 0 to drop none."""
        over = len(self._order) + coming - self._keep
        return self._order[over - 1] if len(self._order) >= over > self._keep // SLACK else 0

    def add(self, changes: Sequence[Change], *, compacted: int) -> None:
        """Append changes that are on disk, and drop those up to version `compacted`."""
        for change in changes:
            self._order.append(change.version)
            self._by_kind[change.kind].append(change)
        if compacted:
            self.compacted = compacted
            while self._order and self._order[0] <= compacted:
                self._order.popleft()
            for kind, retained in self._by_kind.items():
                self._by_kind[kind] = retained[_after(retained, compacted) :]

    def since(self, kind: Kind, version: int) -> list[Change]:
        """Return a kind's changes after a version, oldest first; raise StatusError (410) if some may be dropped."""
        if version < self.compacted:
            raise errors.too_old(version, self.compacted)
        retained = self._by_kind[kind]
        return retained[_after(retained, version) :]


def _after(changes: Sequence[Change], version: int) -> int:
    return bisect_right(changes, version, key=lambda each: each.version)
