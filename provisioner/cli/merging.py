"""Three-way apply, from the file as last applied, the file now, and the live object. Pure."""

import json
from typing import Any, Final

from provisioner.model.kinds import Json

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's annotation, so that kubectl and `mooring apply` can be used on the same object."""


def with_last_applied(desired: Json) -> Json:
    """Return the object with the file's content in its annotation, as it is sent to the server."""
    annotation = json.dumps(desired, separators=(",", ":"), sort_keys=True) + "\n"
    metadata = desired.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: annotation}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def last_applied(live: Json) -> Json:
    """Return the file as it was applied last; {} for an object that was created in another way."""
    annotation = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        found = json.loads(annotation)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def patch_of(*, last: Json, desired: Json, live: Json) -> Json:
    """
    Return the merge patch from `live` to `desired`; {} when there is no difference.

    Fields in `last` that are not in `desired` are removed; fields of other clients are kept. Lists are replaced whole.
    """
    patch = _changes(last, desired, live) | _removals(last, desired, live)
    return _deep(patch, last, desired, live)


def _changes(last: Json, desired: Json, live: Json) -> Json:
    """Return the scalars and lists that differ; also a list from which the file only removed fields."""
    return {
        key: value
        for key, value in desired.items()
        if not isinstance(value, dict)
        and (not _includes(live.get(key), value) or (key in last and not _includes(value, last[key])))
    }


def _includes(live: Any, desired: Any) -> bool:
    """Report whether `live` has all of `desired`. The server adds defaults, also inside of lists."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return all(_includes(live.get(key), value) for key, value in desired.items())
    if isinstance(desired, list) and isinstance(live, list):
        return len(desired) == len(live) and all(map(_includes, live, desired))
    return bool(live == desired)


def _removals(last: Json, desired: Json, live: Json) -> Json:
    return {key: None for key in last if key not in desired and key in live}


def _deep(patch: Json, last: Json, desired: Json, live: Json) -> Json:
    for key, value in desired.items():
        if isinstance(value, dict):
            inner = patch_of(last=_map(last.get(key)), desired=value, live=_map(live.get(key)))
            if inner or not isinstance(live.get(key), dict):
                patch[key] = inner
    return patch


def _map(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
