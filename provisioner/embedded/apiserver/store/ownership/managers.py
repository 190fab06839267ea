"""
The managers of an object: `metadata.managedFields`, read and written.

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
"""So many managers that update are told apart; the oldest ones beyond are put together."""

ANCIENT: Final = "ancient-changes"
_TYPE: Final = "FieldsV1"


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """Who wrote: a name, how it wrote, through which subresource, and (for updates) in which version of the API."""

    operation: str
    name: str
    version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """As messages about conflicts name it."""
        through = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.name}"{through}' + (f" using {self.version}" if self.operation == UPDATE else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a manager owns, since when, and in which version it was said."""

    fields: Fields
    time: str
    version: str


Managers = Mapping[Manager, Entry]


def read(entries: Any) -> dict[Manager, Entry]:
    """The managers that `managedFields` lists; an entry that cannot be read is passed over."""
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
    """`managedFields`: those that apply first, then by time and name."""
    kept = {key: entry for key, entry in managers.items() if entry.fields}
    order = sorted(kept.items(), key=lambda each: (each[0].operation, each[1].time, each[0].name, each[0].subresource))
    return [_entry(key, entry) for key, entry in order]


def _entry(key: Manager, entry: Entry) -> Json:
    found: Json = {"manager": key.name, "operation": key.operation, "apiVersion": entry.version}
    if entry.time:
        found["time"] = entry.time
    found |= {"fieldsType": _TYPE, "fieldsV1": encode(entry.fields)}
    return found | ({"subresource": key.subresource} if key.subresource else {})


def with_time(managers: Managers, before: Managers, *, now: str) -> dict[Manager, Entry]:
    """Each manager whose fields changed gets the time of the change."""

    def entry(key: Manager, current: Entry) -> Entry:
        was = before.get(key)
        if was is not None and was.fields == current.fields and was.version == current.version:
            return was
        return Entry(current.fields, now, current.version)

    return {key: entry(key, current) for key, current in managers.items()}


def capped(managers: Managers) -> dict[Manager, Entry]:
    """Not more updaters than are told apart; the oldest become one, of each version."""
    updaters = sorted((key for key in managers if key.operation == UPDATE), key=lambda key: (managers[key].time, key))
    if len(updaters) <= MOST_UPDATERS:
        return dict(managers)
    result = dict(managers)
    for key in updaters[: len(updaters) - MOST_UPDATERS + 1]:
        entry = result.pop(key)
        together = Manager(UPDATE, ANCIENT, key.version)
        have = result.get(together)
        fields = entry.fields | (have.fields if have else frozenset())
        result[together] = Entry(fields, max(entry.time, have.time if have else ""), entry.version)
    return result


def changed(managers: Managers, keep: Callable[[Manager, Fields], Fields]) -> dict[Manager, Entry]:
    """The managers with other fields; those left with none are gone."""
    result = {}
    for key, entry in managers.items():
        if left := keep(key, entry.fields):
            result[key] = Entry(left, entry.time, entry.version)
    return result
