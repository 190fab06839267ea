"""The application, listening."""

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
LAST_WORDS_SECONDS: Final = 2.0
"""How long requests that run may go on when the server stops."""


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
    Serve the store on loopback while the context is open; gives the port, which is a free one for `port` 0.

    Watches end in order when the context closes, writes that began are finished. The store stays open: it belongs to
    the caller. Without `tls` this is plain HTTP, which kubectl sends no token over. Raises OSError when the port is
    taken.
    """
    app = create_app(store, token, bookmark_seconds=bookmark_seconds)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=LAST_WORDS_SECONDS,
        handle_signals=False,
        keepalive_timeout=connections.IDLE_SECONDS,
    )
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 # it is there after the set-up
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
