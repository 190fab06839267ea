"""Free volumes of one kind, in the order of capacity and name, and by the nodes that reach them."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from provisioner.binding.matching.label_index import Entry, LabelIndex
from provisioner.model.node import Node
from provisioner.model.selector import NodeSelector


@dataclass(slots=True)
class Bucket:
    """Free volumes of one kind with the same access modes."""

    modes: frozenset[str]
    all: list[Entry] = field(default_factory=list)
    labels: LabelIndex = field(default_factory=LabelIndex)
    by_affinity: dict[NodeSelector | None, list[Entry]] = field(default_factory=dict)
    by_label: dict[tuple[str, str], list[NodeSelector]] = field(default_factory=dict)
    """Affinities of one term that requires a label with one value, by the first such requirement."""
    others: list[NodeSelector] = field(default_factory=list)

    def put(self, entry: Entry, affinity: NodeSelector | None) -> None:
        """Insert a volume at its place in the order."""
        insort(self.all, entry)
        self.labels.put(entry)
        reached = self.by_affinity.get(affinity)
        if reached is None:
            reached = self.by_affinity[affinity] = []
            self._list(affinity)
        insort(reached, entry)

    def drop(self, entry: Entry, affinity: NodeSelector | None) -> None:
        """Remove a volume."""
        self.labels.drop(entry)
        reached = self.by_affinity[affinity]
        for entries in (self.all, reached):
            del entries[bisect_left(entries, entry)]
        if not reached:
            del self.by_affinity[affinity]
            self._unlist(affinity)

    def reached_by(self, node: Node) -> Iterator[list[Entry]]:
        """Return the lists of volumes that the node can use."""
        if None in self.by_affinity:
            yield self.by_affinity[None]
        for label in node.labels.items():
            for affinity in self.by_label.get(label, ()):
                if affinity.matches(node.labels):
                    yield self.by_affinity[affinity]
        for affinity in self.others:
            if affinity.matches(node.labels):
                yield self.by_affinity[affinity]

    def _list(self, affinity: NodeSelector | None) -> None:
        if affinity is not None:
            label = _single_label(affinity)
            (self.others if label is None else self.by_label.setdefault(label, [])).append(affinity)

    def _unlist(self, affinity: NodeSelector | None) -> None:
        if affinity is not None:
            label = _single_label(affinity)
            (self.others if label is None else self.by_label[label]).remove(affinity)
            if label is not None and not self.by_label[label]:
                del self.by_label[label]


def _single_label(affinity: NodeSelector) -> tuple[str, str] | None:
    """Return a label and value that every matching node has; None when there is none."""
    if len(affinity.terms) != 1 or affinity.terms[0].broken:
        return None
    equal = (each for each in affinity.terms[0].expressions if each.operator == "In" and len(each.values) == 1)
    return next(((each.key, each.values[0]) for each in equal), None)
