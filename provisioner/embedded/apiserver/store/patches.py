"""
Merge patch (RFC 7396) and JSON patch (RFC 6902) on decoded objects.

Both give a new object and leave the old one alone.
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
"""Of one JSON patch, as in kube-apiserver."""
MAX_COPIED_BYTES = limits.PATCH_COPIED_BYTES
"""What all copies of one JSON patch may come to, as JSON: each may copy what the ones before it made."""


def merge(target: Any, patch: Any) -> Any:
    """What the target becomes: null removes, maps go deep, everything else replaces."""
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
    What the target becomes after all operations, in order.

    Raises Refused: 400 for what is no operation at all, 413 over a limit, 422 when a test fails or a path does not
    exist.
    """
    if len(operations) > MAX_OPERATIONS:
        raise errors.too_large(f"a JSON patch may have {MAX_OPERATIONS} operations, and this has {len(operations)}")
    try:
        document = _apply_all(copy.deepcopy(dict(target)), operations)
    except RecursionError:
        raise errors.unprocessable("the JSON patch makes an object that is nested too deeply") from None
    if not isinstance(document, dict):
        raise errors.unprocessable("the JSON patch leaves no object")
    return document


def _apply_all(document: Any, operations: Sequence[Any]) -> Any:
    copied = 0
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise errors.bad_request(f"the JSON patch's operation {number} is not an object with op and path")
        if operation.get("op") == "copy":
            copied += len(msgspec.json.encode(_find(document, _source(operation))))
            if copied > MAX_COPIED_BYTES:
                raise errors.too_large(f"a JSON patch may copy {MAX_COPIED_BYTES} bytes in all")
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
            if not _same(_find(document, path, missing=None), operation["value"]):
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
    here = document
    for part in path:
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, list) and (index := _index(part, len(here))) is not None:
            here = here[index]
        elif missing is _RAISE:
            raise _no_such(path)
        else:
            return missing
    return here


def _no_such(path: Sequence[str]) -> errors.Refused:
    return errors.unprocessable(f"there is nothing at /{'/'.join(path)}")


def _index(part: str, length: int) -> int | None:
    """A list position that exists, or None; a leading zero is no position."""
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


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
