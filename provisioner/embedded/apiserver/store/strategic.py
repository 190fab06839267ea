"""
Strategic merge patch: like a merge patch, but the lists that have a key are merged entry by entry.

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
"""Lists merged by key, by their field's name; of several keys the first that an entry has counts."""

_SETS: Final = frozenset({"finalizers"})
"""Lists of plain values that are united."""

_ORDER: Final = "$setElementOrder/"
_REMOVE: Final = "$deleteFromPrimitiveList/"


def merge(target: Object, patch: Object) -> Json:
    """What the target becomes; neither is changed."""
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
        kept = {_token(each) for each in _listed("$retainKeys", patch["$retainKeys"])}
        result = {key: value for key, value in result.items() if _token(key) in kept}
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
            result[key] = merge(result.get(key, {}), each)
    return list(result.values())


def _entries(obj: Json, name: str) -> list[Any]:
    """The list that the object has there; what is no list has no entries."""
    found = obj.get(name)
    return found if isinstance(found, list) else []


def _listed(directive: str, value: Any) -> list[Any]:
    """The value of a directive, which must be a list; raises Refused (400)."""
    if not isinstance(value, list):
        raise errors.bad_request(f"{directive} of the strategic merge patch is not a list")
    return value


def _identity(field: str, entry: Any) -> str:
    """What tells an entry from others of its list: its key's value, of a plain one the value itself."""
    if not isinstance(entry, dict):
        return _token(entry)
    return _token(next((entry[key] for key in _KEYS.get(field, ()) if key in entry), None))


def _token(value: Any) -> str:
    """A text that is the same for equal values alone; values of clients need not be hashable."""
    return json.dumps(value, sort_keys=True)


def _ordered(field: str, entries: Iterable[Any], order: Sequence[Any]) -> list[Any]:
    """The entries in the order asked for; what it does not name comes last, as it stood."""
    places = {_identity(field, each): place for place, each in enumerate(order)}
    return sorted(entries, key=lambda each: places.get(_identity(field, each), len(places)))
