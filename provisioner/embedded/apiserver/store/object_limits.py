"""
Limits on the size of one object, checked before it is processed.

Validation, defaults and field managers cost time for each value, and writers wait for each other. Source of the size:
etcd's `--max-request-bytes`, which limits objects of a cluster in the same way.
"""

from typing import Any, Final

import msgspec

from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json

MAX_BYTES: Final = 3 << 19
"""Maximum size of one object as JSON, without its managedFields (1.5 MiB)."""
MAX_VALUES: Final = 20_000
"""Maximum number of maps, lists and scalars in one object, without its managedFields."""

_LEAST_BYTES: Final = 2
"""The least size of a value in JSON: one character and a separator."""


def must_fit(new: Any, old: Json | None = None) -> None:
    """
    Raise StatusError (413) for an object over a limit.

    `old` is the object that `new` replaces: one that exceeds a limit already may shrink.
    """
    size = _size(new)
    if size <= MAX_BYTES and size <= MAX_VALUES * _LEAST_BYTES:
        return  # nearly all objects: their values need not be counted
    values = _values(new)
    if size > MAX_BYTES and (old is None or size > _size(old)):
        raise errors.too_large(f"an object may have {MAX_BYTES} bytes, this one has {size}")
    if values > MAX_VALUES and (old is None or values > _values(old)):
        raise errors.too_large(f"an object may have {MAX_VALUES} values, this one has more")


def _size(obj: Any) -> int:
    return len(msgspec.json.encode(_without_managers(obj)))


def _without_managers(obj: Any) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _values(obj: Any) -> int:
    found, pending = 0, [_without_managers(obj)]
    while pending:
        current = pending.pop()
        found += 1
        if isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return found
