"""
The options of mkfs that a StorageClass may set.

Only those of the filesystem's format, and none that names a file: mkfs runs as root and would read or write it.
"""

from collections.abc import Sequence
from typing import Final

ALLOWED: Final = {
    "ext4": ("-b", "-C", "-G", "-i", "-I", "-J", "-m", "-N", "-O"),
    "xfs": ("-b", "-d", "-i", "-l", "-m", "-n", "-s"),
    "btrfs": ("-d", "-m", "-M", "-n", "-O", "-s", "--csum"),
}
"""By filesystem; each but -M takes a value, as a word of its own."""

_BARE: Final = frozenset({"-M"})
_NAMES_A_FILE: Final = ("/", "file", "name=", "device=", "logdev=", "rtdev=", "uuid=")


def refused_option(fs_type: str, options: Sequence[str]) -> str:
    """Why the options cannot be used, in one sentence; "" when they can."""
    if options and not fs_type:
        return f"{' '.join(options)!r} has no effect on a raw volume, which has no filesystem; leave it out"
    rest = list(options)
    while rest:
        option = rest.pop(0)
        if option not in ALLOWED[fs_type]:
            return f"{option} is not an option for {fs_type}; valid are {', '.join(ALLOWED[fs_type])}"
        if option in _BARE:
            continue
        if not rest or rest[0].startswith("-"):
            return f"{option} needs a value"
        value = rest.pop(0)
        if any(part in value for part in _NAMES_A_FILE):
            return f"{option} {value} names a file or an identity, which Mooring alone chooses"
    return ""
