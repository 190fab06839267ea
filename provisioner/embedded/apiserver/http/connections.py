"""
Limits on connections that have not sent a request yet: their number and their duration.

Every user of this machine can connect to the API without a token. A client that sends no request, or sends it too
slowly, is disconnected. aiohttp closes connections that are idle after their first request, but waits for the first
request without a limit.
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Final, cast

from provisioner import limits

HANDSHAKE_SECONDS: Final = 5.0
HEADER_SECONDS: Final = 10.0
"""Seconds within which the headers of the first request must arrive."""
IDLE_SECONDS: Final = 75.0
"""Seconds for which a connection may be idle between two requests."""
MAX_SILENT: Final = limits.SILENT_CONNECTIONS
"""Maximum number of connections without a first request; beyond it the oldest is closed."""

_END_OF_HEADERS: Final = b"\r\n\r\n"


class SilentConnections:
    """The connections whose first request has not arrived yet, oldest first."""

    def __init__(self) -> None:
        self._transports: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Add a connection; close the oldest one when there are more than MAX_SILENT."""
        self._transports[transport] = None
        if len(self._transports) > MAX_SILENT:
            oldest = next(iter(self._transports))
            self.remove(oldest)
            oldest.abort()

    def remove(self, transport: asyncio.Transport) -> None:
        """Remove a connection that sent its first request or was closed."""
        self._transports.pop(transport, None)


class Guard(asyncio.Protocol):
    """Forwards everything to the HTTP server's protocol; closes the connection if no first request arrives."""

    def __init__(self, inner: asyncio.Protocol, silent: SilentConnections, *, header_seconds: float) -> None:
        self._inner = inner
        self._silent = silent
        self._header_seconds = header_seconds
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout of the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._silent.add(self._transport)
        self._timer = asyncio.get_running_loop().call_later(self._header_seconds, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Forward the data; stop the timeout at the end of the first request's headers."""
        if self._timer is not None:
            self._tail = (self._tail + data)[-len(data) - len(_END_OF_HEADERS) :]
            if _END_OF_HEADERS in self._tail:
                self._request_received()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Forward that the peer has closed its sending side."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward that the connection is closed."""
        self._request_received()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Forward that the peer reads too slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Forward that the peer reads again."""
        self._inner.resume_writing()

    def _request_received(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._tail = b""
        if self._transport is not None:
            self._silent.remove(self._transport)


def guarded(server: Callable[[], asyncio.Protocol], *, header_seconds: float) -> Callable[[], asyncio.Protocol]:
    """Wrap the HTTP server's protocol factory for asyncio's create_server; `header_seconds` is the timeout."""
    silent = SilentConnections()
    return lambda: Guard(server(), silent, header_seconds=header_seconds)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard limit: connections in a TLS handshake use descriptors, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
