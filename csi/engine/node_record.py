"""Where this node shows a volume: written before acting, so that a crash forgets no mount; truth is the mount table."""

from pathlib import Path
from typing import Final

import msgspec

from csi.host import files

FILE: Final = "node.json"


class Publication(msgspec.Struct, frozen=True):
    """One target path and how the volume is shown there."""

    target: str
    read_only: bool
    mode: str
    flags: tuple[str, ...] = ()


class NodeRecord(msgspec.Struct, frozen=True):
    """The staging path ("" when not staged), how it is staged, and the targets."""

    staging: str = ""
    flags: tuple[str, ...] = ()
    publications: tuple[Publication, ...] = ()

    def without(self, target: str) -> "NodeRecord":
        """The record after an unpublish."""
        kept = tuple(each for each in self.publications if each.target != target)
        return msgspec.structs.replace(self, publications=kept)


def read_record(home: Path) -> NodeRecord:
    """What was written last; nothing where there is none or it cannot be read, for mounts speak for themselves."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=NodeRecord)
    except (FileNotFoundError, msgspec.MsgspecError):
        return NodeRecord()


def write_record(home: Path, record: NodeRecord) -> None:
    """Replace the record; a power cut takes the mounts with it, so it need not outlive one."""
    files.write_atomic(home / FILE, msgspec.json.encode(record), durable=False)
