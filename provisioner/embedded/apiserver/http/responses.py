"""What goes back: objects, lists and Status, as JSON or as a Table when the client prefers one."""

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
"""Of one answer: clients take a hundred headers or so."""
WARNING_CHARACTERS: Final = 4096
"""Of all warnings of one answer together, as in kube-apiserver."""
_SPOKEN: Final = frozenset({"application/json", "*/*", "application/*", ""})
"""Media types that JSON is an answer to; no word at all is one of them."""


def json(value: Any, *, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """Any value; warnings go into headers, as kubectl prints them."""
    response = web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
    for warning in _few(warnings):
        printable = "".join(each if each.isprintable() else "?" for each in warning)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'{WARNING_CODE} - "{quoted}"')
    return response


def _few(warnings: Iterable[str]) -> Iterator[str]:
    """Yield as many warnings as clients take in headers, and how many more there are."""
    room, left_out = WARNING_CHARACTERS, 0
    for number, warning in enumerate(warnings):
        room -= len(warning)
        if room >= 0 and number < MAX_WARNINGS:
            yield warning
        else:
            left_out += 1
    if left_out:
        yield f"{left_out} more warnings"


def refused(error: errors.Refused) -> web.Response:
    """An error as Kubernetes shapes it."""
    return json(error.status(), status=error.code)


def one(
    request: web.Request, kind: Kind, obj: Json, *, status: int = 200, warnings: Sequence[str] = ()
) -> web.Response:
    """One object."""
    if wants_table(request):
        return json(
            tables.table(kind, [obj], obj["metadata"].get("resourceVersion", ""), include(request)), status=status
        )
    return json(tables.partial(obj) if wants_metadata(request, many=False) else obj, status=status, warnings=warnings)


def many(request: web.Request, kind: Kind, page: Page) -> web.Response:
    """A list."""
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
    """The object is gone."""
    metadata = obj["metadata"]
    details = errors.details_of(kind, metadata["name"], uid=metadata["uid"])
    return json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


def must_be_acceptable(request: web.Request) -> None:
    """Raise Refused (406) when the client accepts nothing that is spoken here."""
    choices = [choice.partition(";")[0].strip() for choice in request.headers.get("Accept", "").split(",")]
    if not any(media in _SPOKEN for media in choices):
        message = "only the following media types are accepted: application/json"
        raise errors.Refused(406, "NotAcceptable", message)


def wants_table(request: web.Request) -> bool:
    """Whether the first media type that can be served is a Table."""
    return _wanted(request, "Table", "meta.k8s.io", "v1")


def wants_metadata(request: web.Request, *, many: bool) -> bool:
    """Whether the first media type that can be served is an object's (or a list's) metadata alone."""
    return _wanted(request, f"PartialObjectMetadata{'List' if many else ''}", "meta.k8s.io", "v1")


def wants_all_discovery(request: web.Request) -> bool:
    """Whether the first media type that can be served is discovery in one piece."""
    return _wanted(request, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2")


def _wanted(request: web.Request, form: str, group: str, version: str) -> bool:
    for choice in request.headers.get("Accept", "").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        if media not in _SPOKEN:
            continue
        said = dict(part.split("=", 1) for part in parameters if "=" in part)
        if "as" not in said:
            return False
        if (said["as"], said.get("g"), said.get("v")) == (form, group, version):
            return True
    return False


def include(request: web.Request) -> tables.Include:
    """How much of each object goes into a Table's rows."""
    value = request.query.get("includeObject", "") or "Metadata"
    if value not in {"None", "Metadata", "Object"}:
        raise errors.bad_request(f"the query parameter includeObject is {value!r}; write None, Metadata or Object")
    return tables.Include(value)
