"""
Exact resource quantities, as Kubernetes reads and writes them.

Source of the grammar, the rounding and the canonical form: k8s.io/apimachinery, pkg/api/resource/quantity.go.
"""

import functools
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Self

_GRAMMAR: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?", re.ASCII)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NANO: Final = 10**9
_BINARY_CAP: Final = 2**63 - 1
_LENGTH_LIMIT: Final = 1_000
"""Longer texts are refused: parsing thousands of digits takes quadratic time."""
_EXPONENT_LIMIT: Final = 10_000
"""Larger exponents are refused: computing with them takes too long, and no quantity needs them."""


_QUOTED: Final = 60


class InvalidQuantityError(ValueError):
    """A text that is not a quantity; the message quotes it and shows valid ones."""

    def __init__(self, text: object) -> None:
        quoted = repr(text) if len(repr(text)) <= _QUOTED else f"{repr(text)[:_QUOTED]}…"
        super().__init__(f"{quoted} is not a quantity; write for example 500Mi, 1Gi or 1.5G")


@functools.total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """
    A number of units, bytes for storage, to a billionth.

    Quantities compare by value: ``1Gi`` equals ``1024Mi``. `notation` is ``decimal``, ``binary`` or ``exponent`` and
    affects only how it is written.
    """

    value: Fraction
    notation: str = field(default="decimal")

    @classmethod
    def parse(cls, text: object) -> Self:
        """
        Parse a quantity; raises InvalidQuantityError.

        The value may be a string or a number. Parts finer than a billionth are rounded away from zero, and binary
        notation is capped at 2^63-1, both as in Kubernetes.
        """
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise InvalidQuantityError(text)
        written = str(text)
        found = _GRAMMAR.fullmatch(written) if 0 < len(written) <= _LENGTH_LIMIT else None
        if found is None:
            raise InvalidQuantityError(text)
        sign, whole, part, suffix = found[1], found[2], found[3] or "", found[4] or ""
        bare = not whole and not part
        if bare and suffix in {"Pi", "Ei"}:
            raise InvalidQuantityError(text)  # upstream reads a bare Gi as 0, and refuses these two
        number = Fraction(int((whole + part) or "0"), 10 ** len(part))
        notation = "decimal"
        if suffix in _BINARY:
            number *= 1024 ** _BINARY[suffix]
            notation = "binary"
        elif suffix in _DECIMAL:
            number *= Fraction(10) ** _DECIMAL[suffix]
        else:
            exponent = int(suffix[1:])
            if abs(exponent) > _EXPONENT_LIMIT or (bare and exponent < _DECIMAL["n"]):
                raise InvalidQuantityError(written)
            number *= Fraction(10) ** exponent
            notation = "exponent"
        number = Fraction(-((-number * _NANO) // 1), _NANO)
        if notation == "binary":
            number = min(number, Fraction(_BINARY_CAP))
            if 0 < number < 1:
                notation = "decimal"
        return cls(-number if sign == "-" else number, notation)

    @classmethod
    def of_bytes(cls, count: int) -> Self:
        """Return a number of bytes as a quantity, in Ki, Mi and so on where that is exact."""
        return cls(Fraction(count), "binary")

    def readable(self, *, up: bool = False) -> str:
        """
        Return the quantity for messages, in the largest binary unit, with up to two decimals, such as ``1.5Gi``.

        It is rounded down, or up with `up`: a request that does not fit must not look as if it fits. The driver's
        messages have the same form (csi.units).
        """
        count = max(self.ceil_bytes if up else self.value.numerator // self.value.denominator, 0)
        power = min(max(count.bit_length() - 1, 0) // 10, len(_BINARY))
        hundredths = -(-count * 100 >> 10 * power) if up else count * 100 >> 10 * power
        if hundredths == 1024 * 100 and power < len(_BINARY):
            hundredths, power = 100, power + 1
        whole, part = divmod(hundredths, 100)
        return f"{whole}.{part:02}".rstrip("0").rstrip(".") + ("", *_BINARY)[power]

    @property
    def ceil_bytes(self) -> int:
        """An integer, rounded away from zero like upstream's Value, without its overflow at 2^63."""
        whole = -(-abs(self.value.numerator) // self.value.denominator)
        return whole if self.value >= 0 else -whole

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        """Return the canonical form: with the largest suffix that leaves an integer."""
        if self.value == 0:
            return "0"
        if self.notation == "binary" and abs(self.value) >= 1024 and self.value.denominator == 1:
            number, power = self.value.numerator, 0
            while number % 1024 == 0 and power < 6:
                number, power = number // 1024, power + 1
            return f"{number}{next((s for s, p in _BINARY.items() if p == power), '')}"
        number, exponent = (self.value * _NANO).numerator, -9
        ceiling = 18 if self.notation != "exponent" else _EXPONENT_LIMIT
        while number % 1000 == 0 and exponent < ceiling:
            number, exponent = number // 1000, exponent + 3
        if self.notation == "exponent":
            return f"{number}e{exponent}" if exponent else str(number)
        return f"{number}{next(s for s, e in _DECIMAL.items() if e == exponent)}"


ZERO: Final = Quantity(Fraction(0))
"""The value of a missing request or capacity."""
