"""Numbers of bytes for people. Programs get bytes."""

from typing import Final

UNITS: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
UNKNOWN: Final = "-"
"""Stands for what is not known, such as what was not measured yet."""


def human(count: int | None) -> str:
    """Return a number of bytes in the largest unit of Kubernetes that it fills, with two digits at least."""
    if count is None:
        return UNKNOWN
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    shown = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return f"{shown.removesuffix('.0')}{UNITS[unit]}"
