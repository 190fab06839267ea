"""
The manifest: all that is needed to rebuild a volume's place in the world without the API server, beside its bytes.

Strict on reading: a file that is not wholly understood makes its volume *damaged*, which is reported and left alone.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from csi.backends.protocol import Shape
from csi.host import files

SCHEMA: Final = 1
FILE: Final = "manifest.json"


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who holds a volume: labels that the driver does not understand, and since when."""

    labels: dict[str, str]
    since: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One volume. Sizes in bytes, times in UTC as ``2026-01-31T12:00:00.000000Z``.

    `enforced` tells whether something holds it to its size. `grows_to` is the size of an expansion that is going on or
    was cut off; 0 when there is none.
    """

    schema: int = SCHEMA
    id: str
    name: str
    pool: str
    size_bytes: int
    backend: str
    access_type: Literal["mount", "block"]
    fs_type: str
    fs_uuid: str
    provisioning: str
    enforced: bool
    parameters: dict[str, str]
    mutable_parameters: dict[str, str] = {}
    state: Literal["creating", "ready"]
    created: str
    grows_to: int = 0
    holder: Holder | None = None
    ledger: list[Holder] = []

    @property
    def handle(self) -> str:
        """What CSI calls the volume."""
        return f"{self.pool}.{self.id}"

    @property
    def shape(self) -> Shape:
        """What the backend has to know."""
        return Shape(
            self.handle,
            self.size_bytes,
            self.access_type,
            self.fs_type,
            self.fs_uuid,
            self.provisioning,
            self.enforced,
            tuple(self.parameters.get("mkfsOptions", "").split()),
        )

    @property
    def promised_bytes(self) -> int:
        """What the pool has to keep for it."""
        return max(self.size_bytes, self.grows_to)

    @property
    def settings(self) -> dict[str, str]:
        """Its parameters as they are in force now."""
        return self.parameters | self.mutable_parameters

    def held_by(self, labels: dict[str, str], *, now: str) -> "Manifest":
        """The same volume in new hands; the same hands change nothing."""
        if self.holder is not None and self.holder.labels == labels:
            return self
        ledger = [*self.ledger, self.holder] if self.holder is not None else self.ledger
        return msgspec.structs.replace(self, holder=Holder(labels, now), ledger=ledger)


class Damaged(Exception):
    """A manifest that cannot be read; the text says which and why."""


def read(home: Path) -> Manifest:
    """The manifest of a volume's directory; raises Damaged, and FileNotFoundError where there is none."""
    path = home / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise Damaged(
            f"{path} cannot be read: {error}; restore it from a backup, the data beside it is untouched"
        ) from None
    if found.schema != SCHEMA:
        raise Damaged(f"{path} has schema version {found.schema}; this driver knows {SCHEMA}")
    return found


def write(home: Path, manifest: Manifest) -> None:
    """Put it on the disk, whole and durable; an intent only whole: losing it loses nothing that was acknowledged."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    files.write_atomic(home / FILE, content, entry=manifest.state == "ready")


def now() -> str:
    """The present moment, in the manifest's form, which sorts by time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
