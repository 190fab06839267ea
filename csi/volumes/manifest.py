"""
The manifest: the file beside a volume's data from which its PersistentVolume can be recreated.

Reading is strict: a file with an unknown or invalid field makes its volume *damaged*: it is reported and not changed.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from csi import limits
from csi.backends.protocol import Shape
from csi.host import files
from csi.host.errors import HostError
from csi.volumes.sizes import MAX_VOLUME_BYTES

SCHEMA: Final = 1
FILE: Final = "manifest.json"

MAX_BYTES: Final = limits.MANIFEST_BYTES
"""Size of a manifest that is still read."""

MAX_OWNERS: Final = limits.MANIFEST_OWNERS
"""Former holders that a manifest keeps, the newest ones."""

MAX_TEXT_BYTES: Final = limits.MANIFEST_TEXT_BYTES
"""Bytes of all names, parameters and labels of a manifest without its former holders."""


UNREADABLE: Final = (OSError, HostError, ValueError, RuntimeError)
"""What reading and decoding a file raise: msgspec's errors are ValueErrors, too deep nesting a RuntimeError."""

_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An owner record of a volume: opaque labels, and since when."""

    labels: dict[str, str]
    since: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One volume. Sizes in bytes, times in UTC as ``2026-01-31T12:00:00.000000Z``.

    `enforced` is whether the filesystem or a quota limits it to its size. `grows_to` is the size of a running or
    interrupted expansion; 0 when there is none.
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
        """The volume handle."""
        return f"{self.pool}.{self.id}"

    @property
    def shape(self) -> Shape:
        """The properties of the volume for its backend."""
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
    def allocated_bytes(self) -> int:
        """The bytes that are reserved for it."""
        return max(self.size_bytes, self.grows_to)

    @property
    def settings(self) -> dict[str, str]:
        """The parameters in force."""
        return self.parameters | self.mutable_parameters

    def owned_by(self, labels: dict[str, str], *, now: str) -> "Manifest":
        """Return the manifest with a new owner; the same owner changes nothing."""
        if self.holder is not None and self.holder.labels == labels:
            return self
        ledger = [*self.ledger, self.holder][-MAX_OWNERS:] if self.holder is not None else self.ledger
        return msgspec.structs.replace(self, holder=Holder(labels, now), ledger=ledger)


class DamagedError(Exception):
    """A manifest that cannot be read; the text says which and why."""


def read(volume_dir: Path) -> Manifest:
    """
    Return the manifest in a volume's directory. Raises FileNotFoundError where there is none.

    Raises DamagedError for every other reason not to trust it, and nothing else, whatever is in its place.
    """
    path = volume_dir / FILE
    try:
        found = msgspec.json.decode(files.read_small(path, most=MAX_BYTES), type=Manifest)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise DamagedError(
            f"{path} cannot be read: {error}; restore it from a backup, the data beside it is untouched"
        ) from None
    if found.schema != SCHEMA:
        raise DamagedError(f"{path} has schema version {found.schema}; this driver knows {SCHEMA}")
    found = msgspec.structs.replace(found, ledger=found.ledger[-MAX_OWNERS:])
    if problem := implausible(found):
        raise DamagedError(f"{path}: {problem}; restore it from a backup, the data beside it is untouched")
    return found


def implausible(manifest: Manifest) -> str:
    """Return what in a manifest no driver can have written; "" when there is nothing."""
    if not 0 < manifest.size_bytes <= MAX_VOLUME_BYTES or not 0 <= manifest.grows_to <= MAX_VOLUME_BYTES:
        return f"size_bytes {manifest.size_bytes} and grows_to {manifest.grows_to} are not possible together"
    holders = [*manifest.ledger, *([manifest.holder] if manifest.holder else [])]
    for moment in (manifest.created, *(each.since for each in holders)):
        try:
            datetime.strptime(moment, _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return f"{moment[:40]!r} is not a time"
    if len(msgspec.json.encode(msgspec.structs.replace(manifest, ledger=[]))) > MAX_TEXT_BYTES:
        return f"its names, parameters and labels have more than {MAX_TEXT_BYTES} bytes"
    if any(len(msgspec.json.encode(each)) > MAX_TEXT_BYTES for each in holders):
        return f"a holder has more than {MAX_TEXT_BYTES} bytes"
    return ""


def write(volume_dir: Path, manifest: Manifest) -> None:
    """Write the manifest atomically, and durably unless it is an intent, which was not acknowledged."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    files.write_atomic(volume_dir / FILE, content, entry=manifest.state == "ready")


def now() -> str:
    """Return the present time in the manifest's format, which sorts by time."""
    return datetime.now(UTC).strftime(_TIME_FORMAT)
