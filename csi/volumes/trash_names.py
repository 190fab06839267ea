"""Names of entries of the trash: ``<id>.<unix seconds>``, behind ``.purging-`` once the removal began."""

import re
from typing import Final

PURGING: Final = ".purging-"

_NAME: Final = re.compile(r"(?:\.purging-)?[a-z0-9-]{1,63}\.([0-9]{1,10})", re.ASCII)
"""Ten digits last for three hundred years, and what is shown of them has to be a time that protobuf knows."""


def deleted_at(name: str) -> int | None:
    """Return when the entry of this name was deleted, in unix seconds; None for another name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None
