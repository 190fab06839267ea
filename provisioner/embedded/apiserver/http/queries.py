"""Query parameters, media types and bodies of requests, read strictly."""

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
"""The limit of kube-apiserver."""

BODY_SECONDS: Final = 30.0
"""Seconds within which a body must arrive; clients run on the same machine."""

MAX_MANAGER_BYTES: Final = limits.MANAGER_BYTES
"""Maximum length of a field manager's name."""

_YAML: Final = frozenset({"application/yaml", "text/yaml", "application/x-yaml"})
_PROPAGATION: Final = ("Background", "Foreground", "Orphan")


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return a boolean query parameter, False if absent; raise StatusError (400)."""
    value = query.get(name, "")
    if value.lower() not in {"", "true", "false", "1", "0"}:
        raise errors.bad_request(f"the query parameter {name} is {value!r}; write true or false")
    return value.lower() in {"true", "1"}


def number(query: Mapping[str, str], name: str) -> int | None:
    """Return an integer query parameter, zero or more, None if absent; raise StatusError (400)."""
    value = query.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        raise errors.bad_request(f"the query parameter {name} is {value!r}; write a whole number, zero or more")
    return int(value)


def validation(query: Mapping[str, str]) -> Validation:
    """Return what to do with unknown fields, Warn if not specified; raise StatusError (422)."""
    value = query.get("fieldValidation", "") or "Warn"
    if value not in {"Strict", "Warn", "Ignore"}:
        raise _invalid_options(problems.unsupported("fieldValidation", value, ("", "Ignore", "Strict", "Warn")))
    return cast("Validation", value)


def dry_run(query: Mapping[str, str]) -> bool:
    """Report whether the request is a dry run; raise StatusError (422)."""
    value = query.get("dryRun", "")
    if value not in {"", "All"}:
        raise _invalid_options(problems.unsupported("dryRun", [value], ("All",)))
    return value == "All"


def writer(request: web.Request, *, subresource: str = "") -> Writer:
    """Return the field manager that the request names, else the client program; raise StatusError (422)."""
    manager = request.query.get("fieldManager", "")
    if len(manager.encode()) > MAX_MANAGER_BYTES:
        text = f"Too long: may not be more than {MAX_MANAGER_BYTES} bytes"
        raise _invalid_options(problems.Problem("fieldManager", "FieldValueTooLong", text))
    if not manager.isprintable():
        raise _invalid_options(problems.invalid("fieldManager", manager, "should only contain printable characters"))
    program = request.headers.get("User-Agent", "").partition("/")[0]
    printable = (
        "".join(each for each in program if each.isprintable()).encode()[:MAX_MANAGER_BYTES].decode(errors="ignore")
    )
    return Writer(manager or printable or UNKNOWN.name, subresource)


def applier(request: web.Request, *, subresource: str = "") -> Writer:
    """Return the field manager of an apply; raise StatusError (422) if the request names none."""
    if not request.query.get("fieldManager"):
        raise _invalid_options(problems.required("fieldManager", "is required for apply patch"))
    return writer(request, subresource=subresource)


def no_force(query: Mapping[str, str]) -> None:
    """Raise StatusError (422) if `force` is set on a patch that is not an apply."""
    if query.get("force"):
        raise _invalid_options(problems.forbidden("force", "may not be specified for non-apply patch"))


def _invalid_options(problem: problems.Problem) -> errors.StatusError:
    """Return a 422 about the request's options, which are named PatchOptions for every verb."""
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [problem.cause()]}
    return errors.StatusError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {problem}', details)


async def body(request: web.Request) -> Any:
    """
    Decode the body: JSON or YAML, for some kinds also protobuf.

    Raise StatusError: 400 if it cannot be decoded, 413 if it is too long, 415 for another media type.
    """
    kind = request.content_type if "Content-Type" in request.headers else "application/json"
    if kind == protobuf.MEDIA_TYPE:
        return from_protobuf(await raw_body(request))
    if kind not in _YAML and kind != "application/json":
        raise unsupported_media_type("application/json, application/yaml")
    data = await raw_body(request)
    return await from_yaml(data) if kind in _YAML else from_json(data)


async def raw_body(request: web.Request) -> bytes:
    """Return the body as bytes; raise StatusError: 408 if it does not arrive in time, 413 if it is too long."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            # limit: body-bytes
            return await request.read()
    except TimeoutError:
        message = f"the request's body did not arrive within {BODY_SECONDS:g} seconds"
        raise errors.StatusError(408, "Timeout", message) from None
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(f"the limit is {MAX_BODY_BYTES} bytes") from None


def from_json(data: bytes) -> Any:
    """Decode JSON; raise StatusError (400)."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.bad_request(f"the body is not JSON: {error}") from None


async def from_yaml(data: bytes) -> Any:
    """
    Decode YAML in a thread, so that other requests do not wait for it.

    Raise StatusError: 400 if it is malformed or has a value that JSON cannot express, 413 if it costs too much.
    """
    return await asyncio.to_thread(_from_yaml, data)


def _from_yaml(data: bytes) -> Any:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data)  # kubectl sends JSON as YAML, and JSON is decoded much faster
    try:
        yaml_limits.check(data, yaml_limits.REQUEST)
        found = yaml.load(data, Loader=yaml_limits.LOADER)  # noqa: S506 # a safe loader
        return msgspec.json.decode(msgspec.json.encode(found))
    except yaml_limits.TooCostlyError as error:
        raise errors.too_large(error.problem) from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise errors.bad_request(f"the body is not YAML: {error}") from None


def from_protobuf(data: bytes) -> Any:
    """Decode an object; raise StatusError: 400 if malformed, 415 for a kind that must be sent in another format."""
    try:
        return protobuf.decode(data)
    except protobuf.UnknownKindError as unknown:
        raise _not_from_protobuf(unknown.kind) from None
    except protobuf.DecodeError as error:
        raise errors.bad_request(f"the body is not Kubernetes protobuf: {error}") from None


def as_object(found: Any) -> Json:
    """Return the decoded body; raise StatusError (400) unless it is an object."""
    if not isinstance(found, dict):
        raise errors.bad_request("the body is not an object")
    return found


def unsupported_media_type(accepted: str) -> errors.StatusError:
    """Return a 415 with the list of accepted media types."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return errors.StatusError(415, "UnsupportedMediaType", message)


def _not_from_protobuf(kind: str) -> errors.StatusError:
    """Return a 415 that names the kind; a Pod in protobuf comes from commands such as `kubectl debug`."""
    message = f"a {kind or 'body'} cannot be read from protobuf here, send application/json or application/yaml"
    if kind == kinds.POD.name:
        message += f". {containers.NONE_STARTED}: containers cannot be run or debugged"
    return errors.StatusError(415, "UnsupportedMediaType", message)


async def delete_options(request: web.Request) -> DeleteOptions:
    """Read the options of a DELETE from its body and query; raise StatusError (400)."""
    options = as_object(await body(request)) if request.can_read_body and await raw_body(request) else {}
    query = request.query
    preconditions = _field(options, "preconditions", dict) or {}
    grace = _field(options, "gracePeriodSeconds", int)
    propagation = _field(options, "propagationPolicy", str) or query.get("propagationPolicy", "")
    if not propagation and (orphan := _field(options, "orphanDependents", bool)) is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation and propagation not in _PROPAGATION:
        raise errors.bad_request(f"propagationPolicy is {propagation!r}; write one of {', '.join(_PROPAGATION)}")
    return DeleteOptions(
        uid=_field(preconditions, "uid", str) or "",
        resource_version=_field(preconditions, "resourceVersion", str) or "",
        grace_seconds=grace if grace is not None else number(query, "gracePeriodSeconds"),
        propagation=propagation,
        dry_run=dry_run(query) or _field(options, "dryRun", list) == ["All"],
    )


def _field(options: Json, name: str, expected: type) -> Any:
    value = options.get(name)
    if value is not None and (not isinstance(value, expected) or (expected is int and isinstance(value, bool))):
        raise errors.bad_request(f"the delete option {name} cannot be {value!r}")
    return value
