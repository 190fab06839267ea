"""The paths of the HTTP API, the check of the bearer token, and the conversion of errors to a Status."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from provisioner.embedded.apiserver.http import containers, discovery, openapi, queries, responses
from provisioner.embedded.apiserver.http.context import CONTEXT, Context
from provisioner.embedded.apiserver.http.resources import Resource
from provisioner.embedded.apiserver.http.reviews import REVIEWS
from provisioner.embedded.apiserver.http.scale import ScaleView
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.lifecycle import WITH_STATUS
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json, Kind

log = structlog.get_logger()

OPEN_PATHS: Final = frozenset({"/healthz", "/livez", "/readyz"})
UNAUTHORIZED: Final = 401
BOOKMARK_SECONDS: Final = 10.0

_OBJECTS: Final = ("/api/", "/apis/")
_NAME: Final = "{name}"
_NAMESPACE: Final = "{namespace}"


def create_app(store: Store, token: str, *, bookmark_seconds: float = BOOKMARK_SECONDS) -> web.Application:
    """
    Return the server as an aiohttp application.

    Every path except the health checks requires the bearer token. `bookmark_seconds` is the time between two
    bookmarks of an idle watch that asked for bookmarks.
    """
    app = web.Application(middlewares=[_errors, _authorised(token)], client_max_size=queries.MAX_BODY_BYTES)
    app[CONTEXT] = Context(store, bookmark_seconds=bookmark_seconds)
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_end_watches)
    for path in OPEN_PATHS:
        app.router.add_get(path, _ok)
    _add_discovery(app)
    for kind in KINDS:
        _add_kind(app, kind)
    return app


async def _running(app: web.Application) -> AsyncIterator[None]:
    app[CONTEXT].start()
    yield
    app[CONTEXT].stop()


async def _end_watches(app: web.Application) -> None:
    app[CONTEXT].end_watches()


async def _ok(_: web.Request) -> web.Response:
    response = web.Response(text="ok")
    response.force_close()  # no token is needed here, so do not keep the connection open
    return response


def _add_discovery(app: web.Application) -> None:
    fixed: dict[str, Json] = {"/version": discovery.version(), "/openapi/v3": openapi.index()}
    fixed |= {f"/apis/{name}": discovery.group(name) for name in discovery.GROUPS}
    fixed |= {root: discovery.resources(name) for root, name in discovery.roots().items()}
    for path, value in fixed.items():
        app.router.add_get(path, _constant(value))
    app.router.add_get("/api", _either(discovery.core_versions(), discovery.aggregated(core=True)))
    app.router.add_get("/apis", _either(discovery.groups(), discovery.aggregated(core=False)))
    for entry in openapi.index()["paths"]:
        app.router.add_get(f"/openapi/v3/{entry}", _document(f"/{entry}"))
    for review in REVIEWS:
        app.router.add_post(review.path, review.handle)


def _either(plain: Json, aggregated: Json) -> Handler:
    """Return a handler that sends the list of groups, or aggregated discovery to a client that prefers it."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if responses.wants_all_discovery(request):
            response = responses.json(aggregated)
            response.headers["Content-Type"] = discovery.AGGREGATED
        else:
            response = responses.json(plain)
        response.headers["Vary"] = "Accept"
        return response

    return handler


def _constant(value: Json) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return responses.json(value)

    return handler


def _document(root: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return responses.json(await asyncio.to_thread(openapi.document, root))

    return handler


def _add_kind(app: web.Application, kind: Kind) -> None:
    main, router = Resource(kind), app.router
    namespace = _NAMESPACE if kind.namespaced else ""
    collection, one = kind.path(namespace), kind.path(namespace, _NAME)
    if kind.namespaced:
        router.add_get(kind.path(), main.list_or_watch)
    router.add_get(collection, main.list_or_watch)
    router.add_post(collection, main.create)
    router.add_delete(collection, main.delete_collection)
    router.add_get(one, main.read)
    router.add_put(one, main.replace)
    router.add_patch(one, main.patch)
    router.add_delete(one, main.delete)
    if kind in WITH_STATUS:
        _add_subresource(app, f"{one}/status", Resource(kind, part="status", subresource="status"))
    if kind is kinds.STATEFUL_SET:
        _add_subresource(app, f"{one}/scale", Resource(kind, view=ScaleView(), subresource="scale"))
    if kind is kinds.POD:
        for name in containers.SUBRESOURCES:
            router.add_route("*", f"{one}/{name}", containers.refuse)
        router.add_post(f"{one}/binding", main.bind)
        router.add_patch(f"{one}/binding", main.bind)
        router.add_post(f"{collection.rpartition('/')[0]}/bindings", main.bind)
    if kind is kinds.NAMESPACE:
        _add_subresource(app, f"{one}/finalize", Resource(kind, part="finalize"))


def _add_subresource(app: web.Application, path: str, resource: Resource) -> None:
    app.router.add_get(path, resource.read)
    app.router.add_put(path, resource.replace)
    app.router.add_patch(path, resource.patch)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Convert every error to a Status; write tracebacks to the log only."""
    try:
        if request.path.startswith(_OBJECTS):
            responses.must_be_acceptable(request)
        return await handler(request)
    except StatusError as error:
        response = responses.refused(error)
        if error.code == UNAUTHORIZED:
            response.force_close()  # do not keep connections of clients without the token
        return response
    except web.HTTPNotFound:
        return responses.refused(StatusError(404, "NotFound", "the server could not find the requested resource"))
    except web.HTTPMethodNotAllowed:
        message = "the server does not allow this method on the requested resource"
        return responses.refused(StatusError(405, "MethodNotAllowed", message))
    except web.HTTPException as error:
        return responses.refused(StatusError(error.status, "BadRequest", error.reason))
    except ConnectionError:
        raise
    except Exception as error:
        log.exception("request.failed", method=request.method, path=request.path, error=repr(error))
        message = "an error on the server has prevented the request from succeeding; see the engine's log for the error"
        return responses.refused(StatusError(500, "InternalError", message))


def _authorised(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "").encode(errors="replace")
        if request.path not in OPEN_PATHS and not hmac.compare_digest(authorization, expected):
            raise StatusError(
                UNAUTHORIZED, "Unauthorized", "Unauthorized: send the bearer token of the engine's kubeconfig"
            )
        return await handler(request)

    return middleware
