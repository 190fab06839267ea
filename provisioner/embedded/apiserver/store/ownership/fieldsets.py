"""
Sets of fields, and how they are written down in managedFields.

A field is a tuple of steps from the object's root. A step is written as in FieldsV1: `f:` and a name, `k:` and the
keys of a list's entry as JSON, `v:` and the value of a set's entry as JSON.

Source: sigs.k8s.io/structured-merge-diff, fieldpath (the serialised form) and typed (which fields an object has).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from provisioner.embedded.apiserver.store.ownership.topology import Node
from provisioner.model.kinds import Json

Path = tuple[str, ...]
Fields = frozenset[Path]

NOTHING: Final[Fields] = frozenset()
_ITSELF: Final = "."


def name_step(name: str) -> str:
    """The step to a field of a struct or a key of a map."""
    return f"f:{name}"


def entry_step(node: Node, entry: Any) -> str:
    """The step to an entry of a keyed list or of a set."""
    if node.word == "set":
        return f"v:{_compact(entry)}"
    return f"k:{_compact(node.key_of(entry))}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def children(node: Node, value: Any) -> list[tuple[str, Node, Any]]:
    """Steps, places and values one level below; nothing below a leaf, or below a value of another type."""
    if node.word in ("struct", "map"):
        if isinstance(value, dict):
            return [(name_step(name), node.field(name), each) for name, each in value.items()]
    elif node.word in ("set", "keyed") and isinstance(value, list):
        found = {entry_step(node, each): each for each in value if node.word == "set" or isinstance(each, dict)}
        return [(step, node.entry, each) for step, each in found.items()]
    return []


def repeated(node: Node, value: Any, path: Path = ()) -> Path | None:
    """The first entry that stands twice in a list whose entries are told apart; None where there is none."""
    if node.word in ("set", "keyed") and isinstance(value, list):
        seen = set()
        for each in value:
            step = entry_step(node, each)
            if step in seen:
                return (*path, step)
            seen.add(step)
    found = (repeated(below, each, (*path, step)) for step, below, each in children(node, value))
    return next((twice for twice in found if twice), None)


def fields_of(node: Node, value: Any) -> Fields:
    """Every field that is set, as an applied configuration owns it."""
    return frozenset(_set_fields(node, value, ()))


def _set_fields(node: Node, value: Any, path: Path) -> Iterator[Path]:
    if node.word == "leaf":
        yield path
        return
    for step, below, each in children(node, value):
        here = (*path, step)
        if below.word != "leaf" and (node.word != "struct" or each in ({}, None)):
            yield here
        yield from _set_fields(below, each, here)


def encode(fields: Iterable[Path]) -> Json:
    """The form of `fieldsV1`."""
    result: Json = {}
    for path in sorted(fields):
        here = result
        for step in path:
            here = here.setdefault(step, {})
        here[_ITSELF] = {}
    return _without_lone_dots(result)


def _without_lone_dots(tree: Json) -> Json:
    return {
        step: {} if below.keys() <= {_ITSELF} else _without_lone_dots(below) for step, below in sorted(tree.items())
    }


def decode(tree: Any) -> Fields:
    """The set that `fieldsV1` says; what is no field is passed over."""
    return frozenset(_decoded(tree, ()))


def _decoded(tree: Any, path: Path) -> Iterator[Path]:
    if not isinstance(tree, dict):
        return
    if path and (not tree or _ITSELF in tree):
        yield path
    for step, below in tree.items():
        if step[:2] in ("f:", "k:", "v:"):
            yield from _decoded(below, (*path, _canonical(step)))


def _canonical(step: str) -> str:
    """A step as this server writes it, however its writer ordered the keys."""
    if step.startswith("f:"):
        return step
    try:
        return step[:2] + _compact(json.loads(step[2:]))
    except ValueError:
        return step


def with_ancestors(fields: Iterable[Path]) -> Fields:
    """
    The fields and, for each, the named fields that it lies in.

    The list around an entry of a set is left out: upstream counts it in, and so an applier that gives up its only
    finalizer would take along the one that protects a claim, which the server put there and nobody owns.
    """
    return frozenset(
        path[:end]
        for path in fields
        for end in range(1, len(path) + 1)
        if end == len(path) or (path[end - 1].startswith("f:") and not path[end].startswith("v:"))
    )


def prefixes(fields: Iterable[Path]) -> Fields:
    """The fields and everything they lie in."""
    return frozenset(path[:end] for path in fields for end in range(1, len(path) + 1))


def shown(path: Path) -> str:
    """A field for people: `.spec.containers[name="web"].image`."""
    return "".join(_shown(step) for step in path)


def _shown(step: str) -> str:
    if step.startswith("f:"):
        return f".{step[2:]}"
    value = json.loads(step[2:])
    if step.startswith("v:"):
        return f"[={_compact(value)}]"
    return "[" + ",".join(f"{key}={_compact(each)}" for key, each in value.items()) + "]"
