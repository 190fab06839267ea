"""What a request asks for beside its path: query parameters, media types and the body, read strictly."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import yaml
from aiohttp import web

from provisioner import limits
from provisioner.embedded.apiserver.http import containers, protobuf
from provisioner.embedded.apiserver.store import errors, problems
from provisioner.embedded.apiserver.store.lifecycle import DeleteOptions
from provisioner.embedded.apiserver.store.ownership.recording import UNKNOWN, Writer
from provisioner.embedded.apiserver.store.strict import Validation
from provisioner.model import kinds, yaml_limits
from provisioner.model.kinds import Json

MAX_BODY_BYTES: Final = limits.BODY_BYTES
"""As much as a real API server takes."""

BODY_SECONDS: Final = 30.0
"""How long a body may take to come: it is sent from this very machine."""

MAX_MANAGER_BYTES: Final = limits.MANAGER_BYTES
"""The longest name of a field manager."""

_YAML: Final = frozenset({"application/yaml", "text/yaml", "application/x-yaml"})
_PROPAGATION: Final = ("Background", "Foreground", "Orphan")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A truth value of the query; absent is false."""
    value = query.get(name, "")
    if value.lower() not in {"", "true", "false", "1", "0"}:
        raise errors.bad_request(f"the query parameter {name} is {value!r}; write true or false")
    return value.lower() in {"true", "1"}


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query, not below zero; None when it is absent."""
    value = query.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        raise errors.bad_request(f"the query parameter {name} is {value!r}; write a whole number, zero or more")
    return int(value)


def validation(query: Mapping[str, str]) -> Validation:
    """What becomes of unknown fields; Warn when nothing is said."""
    value = query.get("fieldValidation", "") or "Warn"
    if value not in {"Strict", "Warn", "Ignore"}:
        raise _invalid_options(problems.unsupported("fieldValidation", value, ("", "Ignore", "Strict", "Warn")))
    return cast("Validation", value)


def dry_run(query: Mapping[str, str]) -> bool:
    """Whether nothing is to be written."""
    value = query.get("dryRun", "")
    if value not in {"", "All"}:
        raise _invalid_options(problems.unsupported("dryRun", [value], ("All",)))
    return value == "All"


def writer(request: web.Request, *, subresource: str = "") -> Writer:
    """Who writes: the field manager that the request names, else the program that sent it."""
    said = request.query.get("fieldManager", "")
    if len(said.encode()) > MAX_MANAGER_BYTES:
        text = f"Too long: may not be more than {MAX_MANAGER_BYTES} bytes"
        raise _invalid_options(problems.Problem("fieldManager", "FieldValueTooLong", text))
    if not said.isprintable():
        raise _invalid_options(problems.invalid("fieldManager", said, "should only contain printable characters"))
    program = request.headers.get("User-Agent", "").partition("/")[0]
    tidy = "".join(each for each in program if each.isprintable()).encode()[:MAX_MANAGER_BYTES].decode(errors="ignore")
    return Writer(said or tidy or UNKNOWN.name, subresource)


def applier(request: web.Request, *, subresource: str = "") -> Writer:
    """Who applies, which must be said; raises Refused (422)."""
    if not request.query.get("fieldManager"):
        raise _invalid_options(problems.required("fieldManager", "is required for apply patch"))
    return writer(request, subresource=subresource)


def no_force(query: Mapping[str, str]) -> None:
    """Raise Refused (422) when `force` is said for something that is no apply."""
    if query.get("force"):
        raise _invalid_options(problems.forbidden("force", "may not be specified for non-apply patch"))


def _invalid_options(problem: problems.Problem) -> errors.Refused:
    """422 about the request's options, which go by one name here, whatever the verb."""
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [problem.cause()]}
    return errors.Refused(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {problem}', details)


async def body(request: web.Request) -> Any:
    """
    The decoded body, JSON or YAML, of some kinds also protobuf; raises Refused.

    400 for what cannot be decoded, 413 for what is too long, 415 for another media type.
    """
    kind = request.content_type if "Content-Type" in request.headers else "application/json"
    if kind == protobuf.MEDIA_TYPE:
        return from_protobuf(await raw_body(request))
    if kind not in _YAML and kind != "application/json":
        raise unsupported_media_type("application/json, application/yaml")
    data = await raw_body(request)
    return await from_yaml(data) if kind in _YAML else from_json(data)


async def raw_body(request: web.Request) -> bytes:
    """The body as it came; raises Refused (413)."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            # limit: body-bytes
            return await request.read()
    except TimeoutError:
        message = f"the request's body did not come within {BODY_SECONDS:g} seconds"
        raise errors.Refused(408, "Timeout", message) from None
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(f"the limit is {MAX_BODY_BYTES} bytes") from None


def from_json(data: bytes) -> Any:
    """Decoded JSON; raises Refused (400)."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.bad_request(f"the body is not JSON: {error}") from None


async def from_yaml(data: bytes) -> Any:
    """
    Decoded YAML, with what JSON has no word for refused; raises Refused, 413 for what costs too much.

    In a thread, so that nobody else's request waits for it.
    """
    return await asyncio.to_thread(_from_yaml, data)


def _from_yaml(data: bytes) -> Any:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data)  # what kubectl sends as YAML is JSON, which is read much faster
    try:
        yaml_limits.check(data, yaml_limits.REQUEST)
        found = yaml.load(data, Loader=yaml_limits.LOADER)  # noqa: S506 # a safe one
        return msgspec.json.decode(msgspec.json.encode(found))
    except yaml_limits.TooCostly as error:
        raise errors.too_large(error.problem) from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise errors.bad_request(f"the body is not YAML: {error}") from None


def from_protobuf(data: bytes) -> Any:
    """A decoded object; raises Refused, 415 for a kind that has to come in another format."""
    try:
        return protobuf.decode(data)
    except protobuf.UnknownKind as unknown:
        raise _not_from_protobuf(unknown.kind) from None
    except protobuf.Undecodable as error:
        raise errors.bad_request(f"the body is not protobuf of Kubernetes: {error}") from None


def as_object(found: Any) -> Json:
    """The decoded body, which must be an object."""
    if not isinstance(found, dict):
        raise errors.bad_request("the body is not an object")
    return found


def unsupported_media_type(accepted: str) -> errors.Refused:
    """415 with the list of what would do."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return errors.Refused(415, "UnsupportedMediaType", message)


def _not_from_protobuf(kind: str) -> errors.Refused:
    """415 with the kind; programs that send a Pod in protobuf, such as `kubectl debug`, want its containers to run."""
    message = f"a {kind or 'body'} cannot be read from protobuf here, send application/json or application/yaml"
    if kind == kinds.POD.name:
        message += f". {containers.NONE_STARTED}: there is nothing to debug or to run"
    return errors.Refused(415, "UnsupportedMediaType", message)


async def delete_options(request: web.Request) -> DeleteOptions:
    """What a DELETE says, in its body or its query."""
    said = as_object(await body(request)) if request.can_read_body and await raw_body(request) else {}
    query = request.query
    preconditions = _field(said, "preconditions", dict) or {}
    grace = _field(said, "gracePeriodSeconds", int)
    propagation = _field(said, "propagationPolicy", str) or query.get("propagationPolicy", "")
    if not propagation and (orphan := _field(said, "orphanDependents", bool)) is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation and propagation not in _PROPAGATION:
        raise errors.bad_request(f"propagationPolicy is {propagation!r}; write one of {', '.join(_PROPAGATION)}")
    return DeleteOptions(
        uid=_field(preconditions, "uid", str) or "",
        resource_version=_field(preconditions, "resourceVersion", str) or "",
        grace_seconds=grace if grace is not None else number(query, "gracePeriodSeconds"),
        propagation=propagation,
        dry_run=dry_run(query) or _field(said, "dryRun", list) == ["All"],
    )


def _field(said: Json, name: str, wanted: type) -> Any:
    value = said.get(name)
    if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        raise errors.bad_request(f"the delete option {name} cannot be {value!r}")
    return value
