"""
Strategic merge patch: a merge patch that merges lists with a key entry by entry.

Source: k8s.io/community, contributors/devel/sig-api-machinery/strategic-merge-patch.md; the keys are the
`patchMergeKey` tags of the kinds served here.
"""

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json, Object

MEDIA_TYPE: Final = "application/strategic-merge-patch+json"

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "addresses": ("type",),
    "conditions": ("type",),
    "containers": ("name",),
    "drivers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "ports": ("containerPort", "port"),
    "taints": ("key",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""The keys of merged lists by field name; the first key that an entry has is used."""

_SETS: Final = frozenset({"finalizers"})
"""Lists of plain values that are merged as sets."""

_ORDER: Final = "$setElementOrder/"
_REMOVE: Final = "$deleteFromPrimitiveList/"


def merge(target: Object, patch: Object) -> Json:
    """Return the patched object; neither argument is modified."""
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    result: Json = {} if directive == "replace" else dict(target)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(result, key, value)
    for key, value in patch.items():
        if key.startswith(_REMOVE):
            name = key.removeprefix(_REMOVE)
            removed = {_token(each) for each in _listed(key, value)}
            result[name] = [each for each in _entries(result, name) if _token(each) not in removed]
        elif key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            result[name] = _ordered(name, _entries(result, name), _listed(key, value))
    if "$retainKeys" in patch:
        retained = {_token(each) for each in _listed("$retainKeys", patch["$retainKeys"])}
        result = {key: value for key, value in result.items() if _token(key) in retained}
    return result


def _merge_field(result: Json, key: str, value: Any) -> None:
    current = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        result[key] = merge(current if isinstance(current, dict) else {}, value)
    elif isinstance(value, list) and key in _SETS:
        result[key] = list({_token(each): each for each in [*_entries(result, key), *value]}.values())
    elif isinstance(value, list) and key in _KEYS and all(isinstance(each, dict) for each in value):
        result[key] = _merge_list(key, current if isinstance(current, list) else [], value)
    else:
        result[key] = copy.deepcopy(value)


def _merge_list(field: str, current: Sequence[Json], patch: Sequence[Json]) -> list[Json]:
    if any(each == {"$patch": "replace"} for each in patch):
        return [copy.deepcopy(each) for each in patch if each != {"$patch": "replace"}]
    result = {_identity(field, each): each for each in current}
    for each in patch:
        key = _identity(field, each)
        if each.get("$patch") == "delete":
            result.pop(key, None)
        else:
            found = result.get(key)  # a plain value has the identity of an entry whose key has that value
            result[key] = merge(found if isinstance(found, dict) else {}, each)
    return list(result.values())


def _entries(obj: Json, name: str) -> list[Any]:
    """Return the list in a field; a value that is not a list counts as empty."""
    found = obj.get(name)
    return found if isinstance(found, list) else []


def _listed(directive: str, value: Any) -> list[Any]:
    """Return the value of a directive; raise StatusError (400) unless it is a list."""
    if not isinstance(value, list):
        raise errors.bad_request(f"{directive} of the strategic merge patch is not a list")
    return value


def _identity(field: str, entry: Any) -> str:
    """Return what identifies an entry in its list: the value of its key, or the plain value itself."""
    if not isinstance(entry, dict):
        return _token(entry)
    return _token(next((entry[key] for key in _KEYS.get(field, ()) if key in entry), None))


def _token(value: Any) -> str:
    """Return a text that is equal for equal values only; clients' values need not be hashable."""
    return json.dumps(value, sort_keys=True)


def _ordered(field: str, entries: Iterable[Any], order: Sequence[Any]) -> list[Any]:
    """Return the entries in the requested order; entries that it does not name come last, in their old order."""
    positions = {_identity(field, each): position for position, each in enumerate(order)}
    return sorted(entries, key=lambda each: positions.get(_identity(field, each), len(positions)))
