"""
Connections that cost anything without a token: few at a time, and not for long.

Everybody on this machine can connect to the API, so that whoever says nothing, or says it slowly, is hung up on.
aiohttp itself ends connections that are idle after their first request, but waits for that first one for ever.
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Final, cast

from provisioner import limits

HANDSHAKE_SECONDS: Final = 5.0
HEADER_SECONDS: Final = 10.0
"""How long the headers of the first request may take to come."""
IDLE_SECONDS: Final = 75.0
"""How long a connection may be idle between two requests."""
MAX_SILENT: Final = limits.SILENT_CONNECTIONS
"""How many connections may be without a first request; of more, the oldest is closed."""

_END_OF_HEADERS: Final = b"\r\n\r\n"


class Silent:
    """The connections whose first request has not come yet, oldest first."""

    def __init__(self) -> None:
        self._transports: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Count one more; the oldest has to go when there are too many."""
        self._transports[transport] = None
        if len(self._transports) > MAX_SILENT:
            oldest = next(iter(self._transports))
            self.remove(oldest)
            oldest.abort()

    def remove(self, transport: asyncio.Transport) -> None:
        """It has spoken, or is gone."""
        self._transports.pop(transport, None)


class Guard(asyncio.Protocol):
    """Pass everything on to the HTTP server's own protocol, and hang up when no first request comes."""

    def __init__(self, inner: asyncio.Protocol, silent: Silent, *, header_seconds: float) -> None:
        self._inner = inner
        self._silent = silent
        self._header_seconds = header_seconds
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time for the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._silent.add(self._transport)
        self._timer = asyncio.get_running_loop().call_later(self._header_seconds, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Look for the end of the first request's headers, and pass all on."""
        if self._timer is not None:
            self._tail = (self._tail + data)[-len(data) - len(_END_OF_HEADERS) :]
            if _END_OF_HEADERS in self._tail:
                self._spoken()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The peer sends no more."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._spoken()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._inner.resume_writing()

    def _spoken(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._tail = b""
        if self._transport is not None:
            self._silent.remove(self._transport)


def guarded(server: Callable[[], asyncio.Protocol], *, header_seconds: float) -> Callable[[], asyncio.Protocol]:
    """A protocol factory for asyncio's create_server around that of the HTTP server."""
    silent = Silent()
    return lambda: Guard(server(), silent, header_seconds=header_seconds)


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may have: connections in their TLS handshake are files, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
