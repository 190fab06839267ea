"""
Names of volumes: from the caller's name to an id, and from a handle to its parts.

An id is a file name of a restricted form. No path is built from any other text of a request.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_PLAIN: Final = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_HANDLE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([a-z0-9-]{1,63})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Handle:
    """The parts of a volume handle."""

    pool: str
    id: str

    def __str__(self) -> str:
        return f"{self.pool}.{self.id}"


def id_of(name: str) -> str:
    """Return the id of a volume of this CSI name: the name itself if it is a plain file name, otherwise a digest."""
    if _PLAIN.fullmatch(name):
        return name
    return f"v-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def parse_handle(text: str) -> Handle | None:
    """Return the parts of ``<pool UUID>.<id>``; None for any other text."""
    found = _HANDLE.fullmatch(text)
    return Handle(found[1], found[2]) if found else None
