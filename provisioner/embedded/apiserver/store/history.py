"""The changes that are still known, by kind, for watches and for lists that go on."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.records import Change
from provisioner.model.kinds import KINDS, Kind

SLACK: Final = 16
"""One part in so many of what is kept may come on top before the surplus is dropped together."""


class History:
    """A bounded log. `compacted` is the newest version whose change may be gone."""

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
        """The version to forget up to when `coming` more changes are added; 0 for nothing."""
        over = len(self._order) + coming - self._keep
        return self._order[over - 1] if len(self._order) >= over > self._keep // SLACK else 0

    def add(self, changes: Sequence[Change], *, compacted: int) -> None:
        """Append changes that are on the disk, and forget those up to `compacted`."""
        for change in changes:
            self._order.append(change.version)
            self._by_kind[change.kind].append(change)
        if compacted:
            self.compacted = compacted
            while self._order and self._order[0] <= compacted:
                self._order.popleft()
            for kind, kept in self._by_kind.items():
                self._by_kind[kind] = kept[_after(kept, compacted) :]

    def since(self, kind: Kind, version: int) -> list[Change]:
        """The changes of a kind after a version, oldest first; raises Refused (410) when some may be gone."""
        if version < self.compacted:
            raise errors.too_old(version, self.compacted)
        kept = self._by_kind[kind]
        return kept[_after(kept, version) :]


def _after(changes: Sequence[Change], version: int) -> int:
    return bisect_right(changes, version, key=lambda each: each.version)
