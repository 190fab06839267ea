"""
Comparison of two versions of an object, field by field.

Source: sigs.k8s.io/structured-merge-diff, typed/compare.go.
"""

from dataclasses import dataclass, field
from typing import Any

from provisioner.embedded.apiserver.store import schema
from provisioner.embedded.apiserver.store.ownership.fieldsets import Fields, Path, children
from provisioner.embedded.apiserver.store.ownership.topology import Node

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """The fields that were added, removed and modified."""

    added: Fields
    removed: Fields
    modified: Fields


@dataclass(slots=True)
class _Found:
    added: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)


def compare(node: Node, old: Any, new: Any) -> Difference:
    """Return the difference between two objects of one kind."""
    found = _Found()
    _compare(node, old, new, (), found)
    return Difference(frozenset(found.added), frozenset(found.removed), frozenset(found.modified))


def _compare(node: Node, old: Any, new: Any, path: Path, found: _Found) -> None:
    if old is new:
        return
    if node.type == "leaf" or (_empty(old) and _empty(new)):
        _compare_leaf(old, new, path, found)
        return
    before, after = _by_step(node, old), _by_step(node, new)
    for step in before.keys() | after.keys():
        below, was = before.get(step, (None, _ABSENT))
        other, now = after.get(step, (None, _ABSENT))
        child = other or below
        assert child is not None  # noqa: S101 - the step came from one of them
        child_path = (*path, step)
        added_or_removed = was is _ABSENT or now is _ABSENT
        if added_or_removed and child.type != "leaf" and not _always_present(node, child, step):
            (found.added if was is _ABSENT else found.removed).add(child_path)
        _compare(child, was, now, child_path, found)


def _always_present(node: Node, child: Node, step: str) -> bool:
    """Report whether Go's type always has the field, even if it is empty: it can be neither added nor removed."""
    if node.type != "struct":
        return False
    return child.type == "struct" or step.removeprefix("f:") in schema.required(node.shape.model)


def _compare_leaf(old: Any, new: Any, path: Path, found: _Found) -> None:
    if old is _ABSENT:
        found.added.add(path)
    elif new is _ABSENT:
        found.removed.add(path)
    elif old != new:
        found.modified.add(path)


def _empty(value: Any) -> bool:
    return value is _ABSENT or value is None or value in ({}, [])


def _by_step(node: Node, value: Any) -> dict[str, tuple[Node, Any]]:
    return {step: (below, each) for step, below, each in children(node, value)}
