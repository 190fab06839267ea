"""Read lines from a stream, each cut to a maximum length."""

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

    A line of more than `longest` bytes is cut, and the number of missing bytes is appended. At most `longest` bytes and
    one chunk are in memory.
    """
    line, missing = bytearray(), 0
    while chunk := await stream.read(CHUNK):
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            missing += _append(line, part, longest)
            yield _cut(line, missing)
            line, missing = bytearray(), 0
        missing += _append(line, rest, longest)
    if line or missing:
        yield _cut(line, missing)


def _append(line: bytearray, part: bytes, longest: int) -> int:
    """Append up to the limit; return the number of bytes left out."""
    taken = part[: longest - len(line)]
    line += taken
    return len(part) - len(taken)


def _cut(line: bytearray, missing: int) -> bytes:
    return bytes(line) + (b"... (%d bytes more)" % missing if missing else b"")
