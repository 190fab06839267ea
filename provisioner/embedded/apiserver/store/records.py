"""Records of the store: one change for each write."""

from dataclasses import dataclass
from typing import Literal

from provisioner.model.kinds import Json, Kind

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Change:
    """
    One write, as watches report it.

    `before` is the previous object. A watch with a selector needs it to tell an object that starts to match from one
    that changes, and a continued list needs it to restore the earlier state. Objects in a change are never modified.
    """

    version: int
    type: ChangeType
    kind: Kind
    key: Key
    object: Json
    before: Json | None


def key_of(obj: Json) -> Key:
    """Return namespace and name of a stored object."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
