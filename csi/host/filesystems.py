"""Filesystems on images: looking, making, checking. Nothing is formatted that is not known to be blank."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.commands import Limit, run
from csi.host.errors import CommandError, NotBlank

MINIMUM: Final = {"ext4": 2 << 20}
"""Least size of a filesystem that has a journal, in bytes (measured with e2fsprogs 1.47)."""

_NOTHING_FOUND: Final = 2
_EXT4_STATE: Final = 1024 + 0x3A
_EXT4_ERRORS: Final = 2


@dataclass(frozen=True, slots=True)
class Found:
    """What is on an image: its filesystem and that one's UUID."""

    fs_type: str
    uuid: str


def probe(image: Path) -> Found | None:
    """
    What is on the image; None only when it is blank for certain.

    Of blkid's answers only "nothing found" means blank. Any other that is not a plain filesystem raises NotBlank.
    """
    try:
        image.open("rb").close()  # blkid says "nothing found" of a file that it cannot read, too
        done = run(["blkid", "-p", "-o", "export", str(image)], limit=Limit.QUERY, ok=(0, _NOTHING_FOUND))
    except (CommandError, OSError) as error:
        raise NotBlank(f"what is on {image} cannot be told ({error}); it is left as it is") from None
    if done.exit_code == _NOTHING_FOUND:
        if done.stdout.strip():
            raise NotBlank(f"what is on {image} cannot be told; it is left as it is")
        return None
    fields = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if not fields.get("TYPE"):
        what = fields.get("PTTYPE", "something that is no filesystem")
        raise NotBlank(f"{image} holds {what}; it is left as it is")
    return Found(fields["TYPE"], fields.get("UUID", ""))


def make(image: Path, *, fs_type: str, uuid: str) -> None:
    """Make a filesystem with this UUID on a blank image; raises NotBlank for any other, and CommandError."""
    found = probe(image)
    if found is not None:
        raise NotBlank(f"{image} already holds {found.fs_type} with UUID {found.uuid}; it is not formatted again")
    # No discard: the image is sparse already where it is thin, and must stay allocated where it is thick.
    options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
    run([f"mkfs.{fs_type}", "-q", "-F", "-m", "0", "-U", uuid, "-E", options, str(image)], limit=Limit.FORMAT)


def needs_check(image: Path) -> bool:
    """Whether the ext4 on the image remembers errors; an interrupted journal is the kernel's to replay."""
    with image.open("rb") as file:
        file.seek(_EXT4_STATE)
        (state,) = struct.unpack("<H", file.read(2))
    return bool(state & _EXT4_ERRORS)


def check(image: Path) -> None:
    """Repair what can be repaired without asking; raises CommandError when somebody has to look."""
    run(["e2fsck", "-p", str(image)], limit=Limit.CHECK, ok=(0, 1))
