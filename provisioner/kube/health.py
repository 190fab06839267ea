"""Two pages over HTTP by which kubelet judges a process: /healthz and /readyz."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

Judge = Callable[[], str]
"""What is wrong, in a sentence; "" for nothing."""


class CannotListen(Exception):
    """The address cannot be listened on: says which, and why."""


@contextlib.asynccontextmanager
async def serving(host: str, port: int, *, healthy: Judge, ready: Judge) -> AsyncIterator[int]:
    """Serve both pages: 200 and `ok`, or 503 and the sentence. Yields the port. Raises CannotListen."""
    # unbounded: two pages without a body, for kubelet's probes
    app = web.Application()
    app.router.add_get("/healthz", _page(healthy))
    app.router.add_get("/readyz", _page(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {host}:{port}: {error.strerror or error}; choose another address"
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _page(evaluate: Judge) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        problem = evaluate()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer
