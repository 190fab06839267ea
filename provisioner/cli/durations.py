"""Durations on the command line."""

import re
from typing import Final

import click

_PARTS: Final = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)
_WHOLE: Final = re.compile(r"(?:[0-9]{1,9}[dhms])+", re.ASCII)
SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Duration(click.ParamType[int]):
    """The parameter type of a duration such as 90m, 36h or 7d, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the duration in seconds."""
        if not _WHOLE.fullmatch(str(value)):
            self.fail(f"{value!r} is not a duration; write for example 90m, 36h or 7d", param, ctx)
        return sum(int(number) * SECONDS[unit] for number, unit in _PARTS.findall(str(value)))
