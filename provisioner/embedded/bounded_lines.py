"""Read lines of bounded length from a stream, however long they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from provisioner import limits

LONGEST: Final = limits.DRIVER_LINE_BYTES
"""The number of bytes of one line that are returned."""
CHUNK: Final = 64 << 10


async def lines(stream: asyncio.StreamReader, *, longest: int = LONGEST) -> AsyncIterator[bytes]:
    """
    Yield each line of the stream without its line end, also an unterminated last one.

    A line of more than `longest` bytes is cut, and its end says how many bytes are missing; no more than that and one
    chunk is in memory.
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
    """Append up to the limit; return the number of bytes left out."""
    taken = part[: longest - len(kept)]
    kept += taken
    return len(part) - len(taken)


def _cut(kept: bytearray, missing: int) -> bytes:
    return bytes(kept) + (b"... (%d bytes more)" % missing if missing else b"")
