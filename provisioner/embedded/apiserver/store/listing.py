"""
Paged lists: all pages show the objects of the first page's resourceVersion.

Source: Kubernetes API conventions, "Retrieving large results sets in chunks".
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.records import Change, Key
from provisioner.embedded.apiserver.store.selectors import Selection
from provisioner.model.kinds import Json


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, of one version of the store."""

    items: Sequence[Json]
    version: int
    token: str = ""
    remaining: int | None = None
    """The number of objects after this page; None with a selector, as in Kubernetes."""


class Token(msgspec.Struct, frozen=True):
    """A continue token: the last key of the page, and the version of the list."""

    version: int
    namespace: str
    name: str

    def write(self) -> str:
        """Return the value of `metadata.continue`."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()

    @classmethod
    def read(cls, text: str) -> "Token":
        """Decode a continue token; raise StatusError (400)."""
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=cls)
        except (binascii.Error, msgspec.DecodeError, ValueError):
            raise errors.bad_request(
                "continue key is not valid: use metadata.continue of the previous page, unchanged"
            ) from None


def before_changes(objects: Mapping[Key, Json], changes: Iterable[Change]) -> dict[Key, Json]:
    """Return the objects as they were before these changes (oldest first)."""
    result = dict(objects)
    for change in reversed(list(changes)):
        if change.before is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.before
    return result


def page(
    objects: Mapping[Key, Json], *, version: int, namespace: str, selection: Selection, limit: int, after: Key | None
) -> Page:
    """Return the first `limit` selected objects after a key, ordered by namespace and name; limit 0 means all."""
    chosen = [
        (key, obj)
        for key, obj in sorted(objects.items())
        if (not namespace or key[0] == namespace) and (after is None or key > after) and selection.matches(obj)
    ]
    if not limit or len(chosen) <= limit:
        return Page([obj for _, obj in chosen], version)
    (last_namespace, last_name), _ = chosen[limit - 1]
    token = Token(version, last_namespace, last_name).write()
    return Page([obj for _, obj in chosen[:limit]], version, token, None if selection.tests else len(chosen) - limit)
