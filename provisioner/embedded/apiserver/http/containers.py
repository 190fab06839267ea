"""Subresources of a pod that need a running container; they are refused, since the engine starts none."""

from typing import Final

from aiohttp import web

from provisioner.embedded.apiserver.http.context import CONTEXT
from provisioner.embedded.apiserver.store import errors
from provisioner.model import kinds

SUBRESOURCES: Final = ("log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers")
NONE_STARTED: Final = "This engine mounts volumes and starts no containers"


async def refuse(request: web.Request) -> web.Response:
    """Raise StatusError: 404 if the pod does not exist, else 400 with the reason why it has no container."""
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    request.app[CONTEXT].store.get(kinds.POD, namespace, name)
    raise errors.bad_request(
        f"pod {name} has no running container: {NONE_STARTED[0].lower()}{NONE_STARTED[1:]}; "
        f"'mooring path {name} --namespace {namespace}' prints where its volumes are"
    )
