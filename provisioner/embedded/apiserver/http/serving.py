"""The listening HTTP server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from provisioner.embedded.apiserver.http import connections
from provisioner.embedded.apiserver.http.app import BOOKMARK_SECONDS, create_app
from provisioner.embedded.apiserver.store.store import Store

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 128
SHUTDOWN_SECONDS: Final = 2.0
"""Seconds for which running requests may continue when the server stops."""


@asynccontextmanager
async def serve(
    store: Store,
    *,
    port: int,
    tls: ssl.SSLContext | None,
    token: str,
    bookmark_seconds: float = BOOKMARK_SECONDS,
    header_seconds: float = connections.HEADER_SECONDS,
) -> AsyncIterator[int]:
    """
    Serve the store on loopback while the context is open; yield the port, a free one for `port` 0.

    When the context closes, watches end in order and writes that began are finished. The caller closes the store.
    Without `tls` this is plain HTTP, over which kubectl sends no token. `header_seconds` is the timeout of the first
    request's headers. Raise OSError if the port is in use.
    """
    app = create_app(store, token, bookmark_seconds=bookmark_seconds)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        handle_signals=False,
        keepalive_timeout=connections.IDLE_SECONDS,
    )
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 # set by setup()
        # limit: silent-connections
        listening = await asyncio.get_running_loop().create_server(
            connections.guarded(runner.server, header_seconds=header_seconds),
            LOOPBACK,
            port,
            ssl=tls,
            ssl_handshake_timeout=connections.HANDSHAKE_SECONDS if tls else None,
            backlog=BACKLOG,
        )
        try:
            yield int(listening.sockets[0].getsockname()[1])
        finally:
            listening.close()
    finally:
        await runner.cleanup()
