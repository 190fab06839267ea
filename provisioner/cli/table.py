"""Tables in kubectl's format: columns are padded to their widest cell, with three blanks between them."""

from collections.abc import Sequence

GAP = "   "


def lines(rows: Sequence[Sequence[str]], *, widths: list[int] | None = None) -> list[str]:
    """Return the rows as text lines. `widths` is updated in place, so that later rows align with earlier ones."""
    widths = [] if widths is None else widths
    for row in rows:
        for number, cell in enumerate(row):
            if number == len(widths):
                widths.append(0)
            widths[number] = max(widths[number], len(cell))
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
