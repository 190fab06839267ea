"""Human-readable numbers of bytes, for tables and messages; data output has plain bytes."""

from typing import Final

UNITS: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
UNKNOWN: Final = "-"
"""The text for an unknown size, such as one that is not measured yet."""


def human(count: int | None) -> str:
    """Return a number of bytes in the largest Kubernetes unit that it reaches, with at least two digits."""
    if count is None:
        return UNKNOWN
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    shown = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return f"{shown.removesuffix('.0')}{UNITS[unit]}"
