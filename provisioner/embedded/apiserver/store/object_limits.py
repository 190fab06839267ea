"""
How large one object may be, measured before anything else is done with it.

Checks, defaults and field managers cost time by the number of values, and all writers wait for each other. Source of
the size: etcd's `--max-request-bytes`, which bounds objects of a cluster in the same way.
"""

from typing import Any, Final

import msgspec

from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json

MAX_BYTES: Final = 3 << 19
"""Of one object as JSON, its managedFields not counted (1.5 MiB)."""
MAX_VALUES: Final = 20_000
"""Of one object: maps, lists and what is in them, its managedFields not counted."""

_LEAST_BYTES: Final = 2
"""A value and what separates it from the next."""


def must_fit(new: Any, old: Json | None = None) -> None:
    """
    Raise Refused (413) for an object over a limit.

    `old` is what it takes the place of: an object that is too large already may shrink.
    """
    size = _size(new)
    if size <= MAX_BYTES and size <= MAX_VALUES * _LEAST_BYTES:
        return  # nearly all objects are that small: nothing has to be counted
    values = _values(new)
    if size > MAX_BYTES and (old is None or size > _size(old)):
        raise errors.too_large(f"an object may have {MAX_BYTES} bytes, and this has {size}")
    if values > MAX_VALUES and (old is None or values > _values(old)):
        raise errors.too_large(f"an object may have {MAX_VALUES} values, and this has more")


def _size(obj: Any) -> int:
    return len(msgspec.json.encode(_without_managers(obj)))


def _without_managers(obj: Any) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _values(obj: Any) -> int:
    found, open_ = 0, [_without_managers(obj)]
    while open_:
        here = open_.pop()
        found += 1
        if isinstance(here, dict):
            open_.extend(here.values())
        elif isinstance(here, list):
            open_.extend(here)
    return found
