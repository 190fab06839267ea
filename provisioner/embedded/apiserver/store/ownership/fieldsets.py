"""
Sets of fields, and their encoding in managedFields.

A field is a tuple of steps from the object's root. A step is encoded as in FieldsV1: `f:` and a name, `k:` and the
keys of a list's entry as JSON, `v:` and the value of a set's entry as JSON.

Source: sigs.k8s.io/structured-merge-diff, fieldpath (the encoding) and typed (which fields an object has).
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
    """Return the step to a field of a struct or a key of a map."""
    return f"f:{name}"


def entry_step(node: Node, entry: Any) -> str:
    """Return the step to an entry of a keyed list or of a set."""
    if node.type == "set":
        return f"v:{_compact(entry)}"
    return f"k:{_compact(node.key_of(entry))}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def children(node: Node, value: Any) -> list[tuple[str, Node, Any]]:
    """Return the children's steps, nodes and values; empty for a leaf or a value of another type."""
    if node.type in ("struct", "map"):
        if isinstance(value, dict):
            return [(name_step(name), node.field(name), each) for name, each in value.items()]
    elif node.type in ("set", "keyed") and isinstance(value, list):
        found = {entry_step(node, each): each for each in value if node.type == "set" or isinstance(each, dict)}
        return [(step, node.entry, each) for step, each in found.items()]
    return []


def first_duplicate(node: Node, value: Any, path: Path = ()) -> Path | None:
    """Return the first duplicate entry of a keyed list or set, None if there is none."""
    if node.type in ("set", "keyed") and isinstance(value, list):
        seen = set()
        for each in value:
            step = entry_step(node, each)
            if step in seen:
                return (*path, step)
            seen.add(step)
    found = (first_duplicate(below, each, (*path, step)) for step, below, each in children(node, value))
    return next((duplicate for duplicate in found if duplicate), None)


def fields_of(node: Node, value: Any) -> Fields:
    """Return every field that is set, as an applied configuration owns it."""
    return frozenset(_set_fields(node, value, ()))


def _set_fields(node: Node, value: Any, path: Path) -> Iterator[Path]:
    if node.type == "leaf":
        yield path
        return
    for step, below, each in children(node, value):
        child_path = (*path, step)
        if below.type != "leaf" and (node.type != "struct" or each in ({}, None)):
            yield child_path
        yield from _set_fields(below, each, child_path)


def encode(fields: Iterable[Path]) -> Json:
    """Return the fields in the form of `fieldsV1`."""
    result: Json = {}
    for path in sorted(fields):
        current = result
        for step in path:
            current = current.setdefault(step, {})
        current[_ITSELF] = {}
    return _without_lone_dots(result)


def _without_lone_dots(tree: Json) -> Json:
    return {
        step: {} if below.keys() <= {_ITSELF} else _without_lone_dots(below) for step, below in sorted(tree.items())
    }


def decode(tree: Any) -> Fields:
    """Return the fields in `fieldsV1`; invalid entries are skipped."""
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
    """Return a step in this server's encoding, whatever the order of its keys."""
    if step.startswith("f:"):
        return step
    try:
        return step[:2] + _compact(json.loads(step[2:]))
    except ValueError:
        return step


def with_ancestors(fields: Iterable[Path]) -> Fields:
    """
    Return the fields and the named fields that contain them.

    The list that contains an entry of a set is left out. Upstream includes it: an applier that stops applying its only
    finalizer would then also remove the protection finalizer of a claim, which the server set and no manager owns.
    """
    return frozenset(
        path[:end]
        for path in fields
        for end in range(1, len(path) + 1)
        if end == len(path) or (path[end - 1].startswith("f:") and not path[end].startswith("v:"))
    )


def prefixes(fields: Iterable[Path]) -> Fields:
    """Return the fields and all their ancestors."""
    return frozenset(path[:end] for path in fields for end in range(1, len(path) + 1))


def format_path(path: Path) -> str:
    """Return a field in readable form: `.spec.containers[name="web"].image`."""
    return "".join(_format_step(step) for step in path)


def _format_step(step: str) -> str:
    if step.startswith("f:"):
        return f".{step[2:]}"
    value = json.loads(step[2:])
    if step.startswith("v:"):
        return f"[={_compact(value)}]"
    return "[" + ",".join(f"{key}={_compact(each)}" for key, each in value.items()) + "]"
