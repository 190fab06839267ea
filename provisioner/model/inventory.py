"""Pools and manifests as a driver's Inventory service reports them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and its capacity in bytes. `problem` is "" when the pool can be used."""

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
    A volume as recorded in its pool.

    :ivar holder: the labels of its last owner
    :ivar since: when that owner was recorded, in UTC (RFC 3339); orders owners
    :ivar ready: False for a volume whose creation was interrupted, so that it was never published
    :ivar stored_bytes: the bytes that it occupied when it was last measured; None before the first measurement
    :ivar deleted: when it was moved to the trash, in unix seconds
    :ivar purge_after: when it may be purged, in unix seconds
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
