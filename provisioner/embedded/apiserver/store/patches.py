"""
Merge patch (RFC 7396) and JSON patch (RFC 6902) on decoded objects.

Both return a new object and do not modify the old one.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from provisioner import limits
from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json, Object

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
MAX_OPERATIONS = limits.PATCH_OPERATIONS
"""Maximum number of operations in one JSON patch, as in kube-apiserver."""
MAX_COPIED_BYTES = limits.PATCH_COPIED_BYTES
"""Maximum size as JSON of all copies of one JSON patch together: a copy may copy the result of earlier copies."""


def merge(target: Any, patch: Any) -> Any:
    """Return the merged object: null removes a field, maps are merged recursively, other values replace."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply_operations(target: Object, operations: Sequence[Any]) -> Json:
    """
    Return the object after all operations, in order.

    Raise StatusError: 400 for a malformed operation, 413 over a limit, 422 if a test fails or a path does not exist.
    """
    if len(operations) > MAX_OPERATIONS:
        raise errors.too_large(f"a JSON patch may have {MAX_OPERATIONS} operations, this one has {len(operations)}")
    try:
        document = _apply_all(copy.deepcopy(dict(target)), operations)
    except RecursionError:
        raise errors.unprocessable("the JSON patch creates an object that is nested too deeply") from None
    if not isinstance(document, dict):
        raise errors.unprocessable("the result of the JSON patch is not an object")
    return document


def _apply_all(document: Any, operations: Sequence[Any]) -> Any:
    copied = 0
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise errors.bad_request(f"operation {number} of the JSON patch is not an object with op and path")
        if operation.get("op") == "copy":
            copied += len(msgspec.json.encode(_find(document, _source(operation))))
            if copied > MAX_COPIED_BYTES:
                raise errors.too_large(f"a JSON patch may copy {MAX_COPIED_BYTES} bytes in total")
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    name, path = operation.get("op"), _parts(operation["path"])
    match name:
        case "add" | "replace" | "test" if "value" not in operation:
            raise errors.bad_request(f"the JSON patch's {name} of {operation['path']!r} has no value")
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "replace":
            _find(document, path)
            return (
                _add(_remove(document, path), path, copy.deepcopy(operation["value"])) if path else operation["value"]
            )
        case "remove":
            return _remove(document, path)
        case "test":
            if not _equal(_find(document, path, missing=None), operation["value"]):
                raise errors.unprocessable(f"testing value {operation['path']} failed")
            return document
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, _source(operation))))
        case "move":
            source = _source(operation)
            if path[: len(source)] == source and path != source:
                raise errors.unprocessable(f"{operation['from']!r} cannot be moved into itself")
            value = _find(document, source)
            return _add(_remove(document, source), path, value)
        case _:
            raise errors.bad_request(
                f"unknown JSON patch operation {name!r}; known: add, copy, move, remove, replace, test"
            )


def _source(operation: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(operation.get("from"), str):
        raise errors.bad_request(f"the JSON patch's {operation['op']} to {operation['path']!r} has no from")
    return _parts(operation["from"])


def _parts(pointer: str) -> tuple[str, ...]:
    if pointer and not pointer.startswith("/"):
        raise errors.bad_request(f"the JSON pointer {pointer!r} does not start with /")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


_RAISE: Any = object()


def _find(document: Any, path: Sequence[str], *, missing: Any = _RAISE) -> Any:
    current = document
    for part in path:
        if isinstance(current, dict) and part in current:
            current = current[part]
        elif isinstance(current, list) and (index := _index(part, len(current))) is not None:
            current = current[index]
        elif missing is _RAISE:
            raise _no_such(path)
        else:
            return missing
    return current


def _no_such(path: Sequence[str]) -> errors.StatusError:
    return errors.unprocessable(f"the path /{'/'.join(path)} does not exist")


def _index(part: str, length: int) -> int | None:
    """Return an existing list position, None otherwise; a leading zero is invalid."""
    if not part.isascii() or not part.isdigit() or (len(part) > 1 and part[0] == "0"):
        return None
    return int(part) if int(part) < length else None


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == "-" else _index(last, len(parent) + 1)
        if index is None:
            raise _no_such(path)
        parent.insert(index, value)
    else:
        raise _no_such(path)
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        return None
    _find(document, path)
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document


def _equal(one: Any, other: Any) -> bool:
    """Report whether two JSON values are equal: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
