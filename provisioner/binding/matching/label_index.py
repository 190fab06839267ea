"""Free volumes by their labels, so that a selector reads few of them, or none."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from fractions import Fraction

from provisioner.model.selector import LabelSelector, Requirement
from provisioner.model.volume import Volume

Entry = tuple[int | Fraction, str, Volume]
"""An entry of a sorted list: capacity, name, volume."""


@dataclass(slots=True)
class LabelIndex:
    """Entries by label key and value, sorted."""

    total: int = 0
    keys: dict[str, dict[str, list[Entry]]] = field(default_factory=dict)
    having: dict[str, int] = field(default_factory=dict)
    """The number of volumes that have the key."""

    def put(self, entry: Entry) -> None:
        """Insert a volume."""
        self.total += 1
        for key, value in entry[2].labels.items():
            insort(self.keys.setdefault(key, {}).setdefault(value, []), entry)
            self.having[key] = self.having.get(key, 0) + 1

    def drop(self, entry: Entry) -> None:
        """Remove a volume."""
        self.total -= 1
        for key, value in entry[2].labels.items():
            values = self.keys[key]
            del values[value][bisect_left(values[value], entry)]
            if not values[value]:
                del values[value]
            self.having[key] -= 1
            if not self.having[key]:
                del self.having[key], self.keys[key]

    def candidates(self, selector: LabelSelector) -> list[list[Entry]] | None:
        """
        Return the lists with all volumes that the selector matches, for the requirement with the fewest volumes.

        None when no requirement can be answered from the lists.
        """
        best: list[list[Entry]] | None = None
        for each in selector.requirements:
            found = self._satisfying(each)
            if found is not None and (best is None or sum(map(len, found)) < sum(map(len, best))):
                best = found
        return best

    def _satisfying(self, requirement: Requirement) -> list[list[Entry]] | None:
        values = self.keys.get(requirement.key, {})
        if requirement.operator == "In":
            return [values[value] for value in requirement.values if value in values]
        if requirement.operator == "Exists":
            return list(values.values())
        if self.having.get(requirement.key, 0) < self.total:
            return None  # volumes without the label are in no list
        if requirement.operator == "DoesNotExist":
            return []
        return [entries for value, entries in values.items() if value not in requirement.values]
