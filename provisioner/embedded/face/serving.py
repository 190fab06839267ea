"""The application, listening."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from provisioner.embedded.face.app import BOOKMARK_SECONDS, create_app
from provisioner.embedded.store.store import Store

LOOPBACK: Final = "127.0.0.1"
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
) -> AsyncIterator[int]:
    """
    Serve the store on loopback while the context is open; gives the port, which is a free one for `port` 0.

    Watches end in order when the context closes, writes that began are finished. The store stays open: it belongs to
    the caller. Without `tls` this is plain HTTP, which kubectl sends no token over. Raises OSError when the port is
    taken.
    """
    app = create_app(store, token, bookmark_seconds=bookmark_seconds)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_WORDS_SECONDS, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port, ssl_context=tls)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
