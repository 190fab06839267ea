"""What a driver's Inventory tells: pools and manifests, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and its room, in bytes. `problem` is "" when it can be used."""

    uuid: str
    name: str
    node: str
    capacity_bytes: int
    available_bytes: int
    backends: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    A volume as its pool knows it.

    `holder` are the labels of who had it last; `since`, a time in UTC as RFC 3339 writes it, orders holders. One that
    is not `ready` was never handed out: its making was interrupted, and nobody can have written into it.
    `stored_bytes` are what it occupied when it was measured last, None until then; `deleted` is when it went to the
    trash, and `purge_after` from when on it may be purged, in unix seconds.
    """

    handle: str
    csi_name: str
    capacity_bytes: int
    backend: str
    access_type: str
    holder: Mapping[str, str]
    since: str = ""
    in_trash: bool = False
    ready: bool = True
    stored_bytes: int | None = None
    deleted: int = 0
    purge_after: int = 0

    @property
    def pool_uuid(self) -> str:
        """The pool that has its bytes."""
        return self.handle.partition(".")[0]
