"""
One object laid over another, and fields taken out of one.

Source: sigs.k8s.io/structured-merge-diff, typed/merge.go and typed/remove.go.
"""

from typing import Any

from provisioner.embedded.apiserver.store.ownership.fieldsets import Fields, Path, children, entry_step, name_step
from provisioner.embedded.apiserver.store.ownership.topology import Node


def merge(node: Node, under: Any, over: Any) -> Any:
    """Both objects in one; where both set a field, the upper one's value stands. Neither is changed."""
    if over is None or node.word == "leaf":
        return over
    if node.word in ("struct", "map"):
        if not isinstance(under, dict):
            return over
        result = dict(under)
        for name, each in over.items():
            result[name] = merge(node.field(name), under[name], each) if name in under else each
        return result
    return _merge_list(node, under, over)


def _merge_list(node: Node, under: Any, over: Any) -> Any:
    """Entries of both: those of the upper list in its order, each after those of the lower one that stood before it."""
    if not isinstance(under, list):
        return over
    below = {step: each for step, _, each in children(node, under)}
    above = {step: each for step, _, each in children(node, over)}
    result: list[Any] = []
    rest = list(below)
    for step, each in above.items():
        if step in rest:
            place = rest.index(step)
            result += [below[other] for other in rest[:place] if other not in above]
            rest = rest[place + 1 :]
        result.append(merge(node.entry, below[step], each) if step in below else each)
    return result + [below[step] for step in rest if step not in above]


def without(node: Node, value: Any, gone: Fields) -> Any:
    """The object with these fields, and all that lies in them, taken out. Objects that end up empty go, too."""
    if not gone:
        return value
    return _without(node, value, gone, frozenset(path[:end] for path in gone for end in range(len(path))), ())


def _without(node: Node, value: Any, gone: Fields, touched: Fields, path: Path) -> Any:
    if path not in touched:
        return value
    if node.word in ("struct", "map") and isinstance(value, dict):
        result = {}
        for name, each in value.items():
            here = (*path, name_step(name))
            if here in gone:
                continue
            left = _without(node.field(name), each, gone, touched, here)
            if left is each or left not in ({}, []):
                result[name] = left
        return result
    if node.word in ("set", "keyed") and isinstance(value, list):
        steps = [(*path, entry_step(node, each)) for each in value]
        return [
            _without(node.entry, each, gone, touched, here)
            for here, each in zip(steps, value, strict=True)
            if here not in gone
        ]
    return value
