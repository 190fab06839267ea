"""
The managers of an object: decoding and encoding of `metadata.managedFields`.

Source: k8s.io/apimachinery, pkg/util/managedfields/internal (managers.go and the parts it is made of).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from provisioner import limits
from provisioner.embedded.apiserver.store.ownership.fieldsets import Fields, decode, encode
from provisioner.model.kinds import Json

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MOST_UPDATERS: Final = limits.UPDATERS
"""Maximum number of managers with operation Update; beyond it the oldest are merged into one."""

ANCIENT: Final = "ancient-changes"
_TYPE: Final = "FieldsV1"


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """A manager: operation, name, (for updates) API version, and subresource."""

    operation: str
    name: str
    version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """Return the manager's name in messages about conflicts."""
        through = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.name}"{through}' + (f" using {self.version}" if self.operation == UPDATE else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """The fields of a manager, the time of their last change, and the API version of the request."""

    fields: Fields
    time: str
    version: str


Managers = Mapping[Manager, Entry]


def read(entries: Any) -> dict[Manager, Entry]:
    """Return the managers in `managedFields`; invalid entries are skipped."""
    found: dict[Manager, Entry] = {}
    for each in entries or []:
        operation, version = each.get("operation"), each.get("apiVersion", "")
        if operation not in (APPLY, UPDATE):
            continue
        key = Manager(
            operation, each.get("manager", ""), "" if operation == APPLY else version, each.get("subresource", "")
        )
        fields = decode(each.get("fieldsV1"))
        if key in found:
            fields |= found[key].fields
        found[key] = Entry(fields, each.get("time", ""), version)
    return found


def write(managers: Managers) -> list[Json]:
    """Return `managedFields`: managers with operation Apply first, then by time and name."""
    owning = {key: entry for key, entry in managers.items() if entry.fields}
    order = sorted(
        owning.items(), key=lambda each: (each[0].operation, each[1].time, each[0].name, each[0].subresource)
    )
    return [_entry(key, entry) for key, entry in order]


def _entry(key: Manager, entry: Entry) -> Json:
    found: Json = {"manager": key.name, "operation": key.operation, "apiVersion": entry.version}
    if entry.time:
        found["time"] = entry.time
    found |= {"fieldsType": _TYPE, "fieldsV1": encode(entry.fields)}
    return found | ({"subresource": key.subresource} if key.subresource else {})


def with_time(managers: Managers, before: Managers, *, now: str) -> dict[Manager, Entry]:
    """Return the managers with the time set for those whose fields changed."""

    def entry(key: Manager, current: Entry) -> Entry:
        was = before.get(key)
        if was is not None and was.fields == current.fields and was.version == current.version:
            return was
        return Entry(current.fields, now, current.version)

    return {key: entry(key, current) for key, current in managers.items()}


def capped(managers: Managers) -> dict[Manager, Entry]:
    """Return at most MOST_UPDATERS updaters; the oldest are merged into one for each API version."""
    updaters = sorted((key for key in managers if key.operation == UPDATE), key=lambda key: (managers[key].time, key))
    if len(updaters) <= MOST_UPDATERS:
        return dict(managers)
    result = dict(managers)
    for key in updaters[: len(updaters) - MOST_UPDATERS + 1]:
        entry = result.pop(key)
        merged = Manager(UPDATE, ANCIENT, key.version)
        existing = result.get(merged)
        fields = entry.fields | (existing.fields if existing else frozenset())
        result[merged] = Entry(fields, max(entry.time, existing.time if existing else ""), entry.version)
    return result


def changed(managers: Managers, keep: Callable[[Manager, Fields], Fields]) -> dict[Manager, Entry]:
    """Return the managers with the fields that `keep` returns, without managers that have none left."""
    result = {}
    for key, entry in managers.items():
        if left := keep(key, entry.fields):
            result[key] = Entry(left, entry.time, entry.version)
    return result
