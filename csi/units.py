"""
How sizes are written for people, in every message of the driver; `provisioner.model.quantity` writes the same form.

A size is one word, so that messages that differ in sizes alone are recognized as the same message.
"""

from typing import Final

_UNITS: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def readable(count: int, *, up: bool = False) -> str:
    """
    Write a number of bytes in the largest unit that it reaches, to a hundredth, such as ``1.5Gi``; below 1Ki, as it is.

    Rounded down; with `up`, as what is asked for and does not fit has to be, up: what is more is written as more.
    """
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    hundredths = -(-count * 100 >> 10 * power) if up else count * 100 >> 10 * power
    if hundredths == 1024 * 100 and power + 1 < len(_UNITS):
        hundredths, power = 100, power + 1
    whole, part = divmod(hundredths, 100)
    return f"{whole}.{part:02}".rstrip("0").rstrip(".") + _UNITS[power]


def exact(count: int) -> str:
    """Write a number of bytes for people and to the byte, where the difference of two may be small."""
    return f"{readable(count)} ({count} bytes)"
