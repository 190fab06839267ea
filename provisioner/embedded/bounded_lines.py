"""Lines of a stream that somebody else writes, each of bounded length, however long the writer made it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from provisioner import limits

LONGEST: Final = limits.DRIVER_LINE_BYTES
"""Bytes of one line that are kept."""
CHUNK: Final = 64 << 10


async def lines(stream: asyncio.StreamReader, *, longest: int = LONGEST) -> AsyncIterator[bytes]:
    """
    Yield each line of the stream without its end, the last one also when it has none.

    A line of more than `longest` bytes is cut, and says how many bytes are missing; no more than that and one chunk
    is held in memory.
    """
    kept, missing = bytearray(), 0
    while chunk := await stream.read(CHUNK):
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            missing += _append(kept, part, longest)
            yield _cut(kept, missing)
            kept, missing = bytearray(), 0
        missing += _append(kept, rest, longest)
    if kept or missing:
        yield _cut(kept, missing)


def _append(kept: bytearray, part: bytes, longest: int) -> int:
    """Add what there is room for; returns how many bytes there was none for."""
    taken = part[: longest - len(kept)]
    kept += taken
    return len(part) - len(taken)


def _cut(kept: bytearray, missing: int) -> bytes:
    return bytes(kept) + (b"... (%d bytes more)" % missing if missing else b"")
