"""Tables as kubectl prints them: columns padded to their widest cell, three blanks between."""

from collections.abc import Sequence

GAP = "   "


def lines(rows: Sequence[Sequence[str]], *, widths: list[int] | None = None) -> list[str]:
    """The rows as text. `widths`, where given, keep later rows in line with earlier ones, and are widened."""
    widths = [] if widths is None else widths
    for row in rows:
        for number, cell in enumerate(row):
            if number == len(widths):
                widths.append(0)
            widths[number] = max(widths[number], len(cell))
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
