"""
Sizes in messages of the driver, in the same form as `provisioner.model.quantity`.

A size is one word, so that messages that differ only in sizes are recognized as equal.
"""

from typing import Final

_UNITS: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def readable(count: int, *, up: bool = False) -> str:
    """
    Return a number of bytes in the largest binary unit, with up to two decimals, such as ``1.5Gi``.

    It is rounded down, or up with `up`: a request that does not fit must not look as if it fits.
    """
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    hundredths = -(-count * 100 >> 10 * power) if up else count * 100 >> 10 * power
    if hundredths == 1024 * 100 and power + 1 < len(_UNITS):
        hundredths, power = 100, power + 1
    whole, part = divmod(hundredths, 100)
    return f"{whole}.{part:02}".rstrip("0").rstrip(".") + _UNITS[power]


def exact(count: int) -> str:
    """Return a number of bytes readable and exact, where two sizes may differ by little."""
    return f"{readable(count)} ({count} bytes)"
