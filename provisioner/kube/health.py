"""HTTP endpoints for kubelet's liveness and readiness probes: /healthz and /readyz."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

Check = Callable[[], str]
"""A function that returns the problem in one sentence; "" for none."""


class ListenError(Exception):
    """The address cannot be listened on. The message has the address and the reason."""


@contextlib.asynccontextmanager
async def serving(host: str, port: int, *, healthy: Check, ready: Check) -> AsyncIterator[int]:
    """Serve both endpoints: 200 and `ok`, or 503 and the problem. Yield the port. Raise ListenError."""
    # unbounded: two endpoints without a body, for kubelet's probes
    app = web.Application()
    app.router.add_get("/healthz", _page(healthy))
    app.router.add_get("/readyz", _page(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; choose another address"
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _page(evaluate: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        problem = evaluate()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer
