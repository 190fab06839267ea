"""
Errors of the API: one exception that carries a Kubernetes Status.

Source: k8s.io/apimachinery, pkg/api/errors (reasons, codes and the shape of `details`).
"""

from collections.abc import Sequence
from typing import Any

from provisioner.embedded.apiserver.store.problems import Problem
from provisioner.model.kinds import Json, Kind


class StatusError(Exception):
    """A refused request: HTTP code, machine-readable reason, message and details."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Json:
        """Return the Status object to send."""
        found: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            "code": self.code,
        }
        if self.details or self.code == 404:  # kubectl reads the details of every 404
            found["details"] = self.details
        return found


def resource_of(kind: Kind) -> str:
    """Return a resource's name in messages: `persistentvolumeclaims`, `statefulsets.apps`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def details_of(kind: Kind, name: str, **more: Any) -> Json:
    """Return the `details` of an error about one object."""
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural, **more}


def not_found(kind: Kind, name: str) -> StatusError:
    """Return a 404: the object does not exist."""
    return StatusError(404, "NotFound", f'{resource_of(kind)} "{name}" not found', details_of(kind, name))


def already_exists(kind: Kind, name: str) -> StatusError:
    """Return a 409: an object of this name exists."""
    return StatusError(409, "AlreadyExists", f'{resource_of(kind)} "{name}" already exists', details_of(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """Return a 409: the write is for another version, or for another object of the same name."""
    stale = "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource_of(kind)} "{name}": {why or stale}'
    return StatusError(409, "Conflict", message, details_of(kind, name))


def forbidden(kind: Kind, name: str, why: str) -> StatusError:
    """Return a 403: the write is not allowed."""
    return StatusError(403, "Forbidden", f'{resource_of(kind)} "{name}" is forbidden: {why}', details_of(kind, name))


def invalid(kind: Kind, name: str, found: Sequence[Problem]) -> StatusError:
    """Return a 422 that lists all problems of an object."""
    texts = [str(each) for each in found]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    full = f"{kind.name}.{kind.group}" if kind.group else kind.name
    details = details_of(kind, name, causes=[each.cause() for each in found]) | {"kind": kind.name}
    return StatusError(422, "Invalid", f'{full} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    """Return a 400: the request is malformed."""
    return StatusError(400, "BadRequest", message)


def too_large(why: str) -> StatusError:
    """Return a 413: the request exceeds a limit."""
    return StatusError(413, "RequestEntityTooLarge", f"the request is too large: {why}")


def unprocessable(why: str) -> StatusError:
    """Return a 422: the test of a JSON patch failed, or its path does not exist."""
    message = f"the server rejected our request due to an error in our request: {why}"
    return StatusError(422, "Invalid", message)


def expired(message: str) -> StatusError:
    """Return a 410: the requested version is no longer available, and the client must list again."""
    return StatusError(410, "Expired", message)


def too_old(requested: int, oldest: int) -> StatusError:
    """Return a 410: a watch starts before the oldest retained change."""
    return expired(f"too old resource version: {requested} ({oldest})")
