"""Three-way apply: what the file said last, what it says now, what there is. Pure."""

import json
from typing import Any, Final

from provisioner.model.kinds import Json

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's own annotation, so that both can take turns on one object."""


def with_last_applied(wanted: Json) -> Json:
    """The object as it is sent: it carries what the file says."""
    note = json.dumps(wanted, separators=(",", ":"), sort_keys=True) + "\n"
    metadata = wanted.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: note}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def last_applied(live: Json) -> Json:
    """What the file said when it was applied last; nothing for an object made otherwise."""
    note = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        found = json.loads(note)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def patch_of(*, before: Json, wanted: Json, live: Json) -> Json:
    """
    The merge patch that makes `live` say what `wanted` says; {} when it does already.

    What the file said before and says no longer is removed; what others put there stays. Lists are replaced whole.
    """
    patch = _changes(before, wanted, live) | _removals(before, wanted, live)
    return _deep(patch, before, wanted, live)


def _changes(before: Json, wanted: Json, live: Json) -> Json:
    """Plain values and lists that differ; a list that the file itself changed is sent even where only less is said."""
    return {
        key: value
        for key, value in wanted.items()
        if not isinstance(value, dict)
        and (not _says(live.get(key), value) or (key in before and not _says(value, before[key])))
    }


def _says(live: Any, wanted: Any) -> bool:
    """Whether `live` says all that `wanted` says; the server fills in defaults, also inside of lists."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return all(_says(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(map(_says, live, wanted))
    return bool(live == wanted)


def _removals(before: Json, wanted: Json, live: Json) -> Json:
    return {key: None for key in before if key not in wanted and key in live}


def _deep(patch: Json, before: Json, wanted: Json, live: Json) -> Json:
    for key, value in wanted.items():
        if isinstance(value, dict):
            inner = patch_of(before=_map(before.get(key)), wanted=value, live=_map(live.get(key)))
            if inner or not isinstance(live.get(key), dict):
                patch[key] = inner
    return patch


def _map(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
