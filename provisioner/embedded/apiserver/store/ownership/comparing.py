"""
What a write did to an object, field by field.

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
    """Fields that came, that went, and that have another value."""

    added: Fields
    removed: Fields
    modified: Fields


@dataclass(slots=True)
class _Found:
    added: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)


def compare(node: Node, old: Any, new: Any) -> Difference:
    """The difference between two objects of one kind."""
    found = _Found()
    _compare(node, old, new, (), found)
    return Difference(frozenset(found.added), frozenset(found.removed), frozenset(found.modified))


def _compare(node: Node, old: Any, new: Any, path: Path, found: _Found) -> None:
    if old is new:
        return
    if node.word == "leaf" or (_empty(old) and _empty(new)):
        _whole(old, new, path, found)
        return
    before, after = _by_step(node, old), _by_step(node, new)
    for step in before.keys() | after.keys():
        below, was = before.get(step, (None, _ABSENT))
        other, now = after.get(step, (None, _ABSENT))
        place = other or below
        assert place is not None  # noqa: S101 - the step came from one of them
        here = (*path, step)
        came_or_went = was is _ABSENT or now is _ABSENT
        if came_or_went and place.word != "leaf" and not _always_there(node, place, step):
            (found.added if was is _ABSENT else found.removed).add(here)
        _compare(place, was, now, here, found)


def _always_there(node: Node, place: Node, step: str) -> bool:
    """Whether an object of Go has the field even when it says nothing there, so that it can neither come nor go."""
    if node.word != "struct":
        return False
    return place.word == "struct" or step.removeprefix("f:") in schema.required(node.shape.model)


def _whole(old: Any, new: Any, path: Path, found: _Found) -> None:
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
