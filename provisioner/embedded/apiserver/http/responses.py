"""Responses: objects, lists and Status, as JSON, or as a Table if the client prefers one."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from provisioner.embedded.apiserver.http import tables
from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.listing import Page
from provisioner.model.kinds import Json, Kind

WARNING_CODE: Final = 299
MAX_WARNINGS: Final = 64
"""Maximum number of warnings in one response; clients accept about a hundred headers."""
WARNING_CHARACTERS: Final = 4096
"""Maximum length of all warnings in one response together, as in kube-apiserver."""
_JSON_TYPES: Final = frozenset({"application/json", "*/*", "application/*", ""})
"""Accepted media types for which JSON is sent; empty if the client names none."""


def json(value: Any, *, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """Return a value as JSON; warnings go into Warning headers, which kubectl prints."""
    response = web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
    for warning in _few(warnings):
        printable = "".join(each if each.isprintable() else "?" for each in warning)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'{WARNING_CODE} - "{quoted}"')
    return response


def _few(warnings: Iterable[str]) -> Iterator[str]:
    """Yield as many warnings as clients accept in headers, and the number of those left out."""
    remaining, left_out = WARNING_CHARACTERS, 0
    for number, warning in enumerate(warnings):
        remaining -= len(warning)
        if remaining >= 0 and number < MAX_WARNINGS:
            yield warning
        else:
            left_out += 1
    if left_out:
        yield f"{left_out} more warnings"


def refused(error: errors.StatusError) -> web.Response:
    """Return the Status of an error."""
    return json(error.status(), status=error.code)


def one(
    request: web.Request, kind: Kind, obj: Json, *, status: int = 200, warnings: Sequence[str] = ()
) -> web.Response:
    """Return one object in the form that the client prefers."""
    if wants_table(request):
        return json(
            tables.table(kind, [obj], obj["metadata"].get("resourceVersion", ""), include(request)), status=status
        )
    return json(tables.partial(obj) if wants_metadata(request, many=False) else obj, status=status, warnings=warnings)


def many(request: web.Request, kind: Kind, page: Page) -> web.Response:
    """Return a list in the form that the client prefers."""
    metadata: Json = {"resourceVersion": str(page.version)}
    if page.token:
        metadata["continue"] = page.token
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    if wants_table(request):
        found = tables.table(kind, page.items, str(page.version), include(request))
        return json(found | {"metadata": metadata})
    if wants_metadata(request, many=True):
        items = [tables.partial(obj) for obj in page.items]
        return json(tables.PARTIAL | {"kind": "PartialObjectMetadataList", "metadata": metadata, "items": items})
    return json({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": page.items})


def success(kind: Kind, obj: Json) -> web.Response:
    """Return the Status for a deleted object."""
    metadata = obj["metadata"]
    details = errors.details_of(kind, metadata["name"], uid=metadata["uid"])
    return json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


def must_be_acceptable(request: web.Request) -> None:
    """Raise StatusError (406) if the client accepts none of the media types that the server sends."""
    choices = [choice.partition(";")[0].strip() for choice in request.headers.get("Accept", "").split(",")]
    if not any(media in _JSON_TYPES for media in choices):
        message = "only the following media types are accepted: application/json"
        raise errors.StatusError(406, "NotAcceptable", message)


def wants_table(request: web.Request) -> bool:
    """Report whether the client's first supported media type is a Table."""
    return _prefers(request, "Table", "meta.k8s.io", "v1")


def wants_metadata(request: web.Request, *, many: bool) -> bool:
    """Report whether the client's first supported media type is metadata only, of an object or (`many`) a list."""
    return _prefers(request, f"PartialObjectMetadata{'List' if many else ''}", "meta.k8s.io", "v1")


def wants_all_discovery(request: web.Request) -> bool:
    """Report whether the client's first supported media type is aggregated discovery."""
    return _prefers(request, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2")


def _prefers(request: web.Request, form: str, group: str, version: str) -> bool:
    for choice in request.headers.get("Accept", "").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        if media not in _JSON_TYPES:
            continue
        media_parameters = dict(part.split("=", 1) for part in parameters if "=" in part)
        if "as" not in media_parameters:
            return False
        if (media_parameters["as"], media_parameters.get("g"), media_parameters.get("v")) == (form, group, version):
            return True
    return False


def include(request: web.Request) -> tables.Include:
    """Return how much of each object to include in a Table's rows; raise StatusError (400)."""
    value = request.query.get("includeObject", "") or "Metadata"
    if value not in {"None", "Metadata", "Object"}:
        raise errors.bad_request(f"the query parameter includeObject is {value!r}; write None, Metadata or Object")
    return tables.Include(value)
