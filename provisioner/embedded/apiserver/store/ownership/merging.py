"""
Merge of two objects, and removal of fields from an object.

Source: sigs.k8s.io/structured-merge-diff, typed/merge.go and typed/remove.go.
"""

from typing import Any

from provisioner.embedded.apiserver.store.ownership.fieldsets import Fields, Path, children, entry_step, name_step
from provisioner.embedded.apiserver.store.ownership.topology import Node


def merge(node: Node, under: Any, over: Any) -> Any:
    """Return both objects merged; `over` wins where both set a field. Neither is modified."""
    if over is None or node.type == "leaf":
        return over
    if node.type in ("struct", "map"):
        if not isinstance(under, dict):
            return over
        result = dict(under)
        for name, each in over.items():
            result[name] = merge(node.field(name), under[name], each) if name in under else each
        return result
    return _merge_list(node, under, over)


def _merge_list(node: Node, under: Any, over: Any) -> Any:
    """Merge two lists: entries of `over` in its order, each after the entries that precede it in `under`."""
    if not isinstance(under, list):
        return over
    below = {step: each for step, _, each in children(node, under)}
    above = {step: each for step, _, each in children(node, over)}
    result: list[Any] = []
    rest = list(below)
    for step, each in above.items():
        if step in rest:
            position = rest.index(step)
            result += [below[other] for other in rest[:position] if other not in above]
            rest = rest[position + 1 :]
        result.append(merge(node.entry, below[step], each) if step in below else each)
    return result + [below[step] for step in rest if step not in above]


def without(node: Node, value: Any, removed: Fields) -> Any:
    """Return the object without these fields and their descendants, and without objects that become empty."""
    if not removed:
        return value
    return _without(node, value, removed, frozenset(path[:end] for path in removed for end in range(len(path))), ())


def _without(node: Node, value: Any, removed: Fields, touched: Fields, path: Path) -> Any:
    if path not in touched:
        return value
    if node.type in ("struct", "map") and isinstance(value, dict):
        result = {}
        for name, each in value.items():
            child_path = (*path, name_step(name))
            if child_path in removed:
                continue
            left = _without(node.field(name), each, removed, touched, child_path)
            if left is each or left not in ({}, []):
                result[name] = left
        return result
    if node.type in ("set", "keyed") and isinstance(value, list):
        steps = [(*path, entry_step(node, each)) for each in value]
        return [
            _without(node.entry, each, removed, touched, child_path)
            for child_path, each in zip(steps, value, strict=True)
            if child_path not in removed
        ]
    return value
