"""
Why the API says no: one exception that carries a Kubernetes Status.

Source: k8s.io/apimachinery, pkg/api/errors (reasons, codes and the shape of `details`).
"""

from collections.abc import Sequence
from typing import Any

from provisioner.embedded.apiserver.store.problems import Problem
from provisioner.model.kinds import Json, Kind


class Refused(Exception):
    """A request that is not carried out: HTTP code, machine-readable reason, sentence, and details for programs."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Json:
        """The Status object that goes over the wire."""
        found: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            "code": self.code,
        }
        if self.details or self.code == 404:  # kubectl looks into those of every 404
            found["details"] = self.details
        return found


def resource_of(kind: Kind) -> str:
    """How messages name a resource: `persistentvolumeclaims`, `statefulsets.apps`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def details_of(kind: Kind, name: str, **more: Any) -> Json:
    """The `details` of an error about one object."""
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural, **more}


def not_found(kind: Kind, name: str) -> Refused:
    """There is no such object."""
    return Refused(404, "NotFound", f'{resource_of(kind)} "{name}" not found', details_of(kind, name))


def already_exists(kind: Kind, name: str) -> Refused:
    """The name is taken."""
    return Refused(409, "AlreadyExists", f'{resource_of(kind)} "{name}" already exists', details_of(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> Refused:
    """The write was meant for another version or another object of the same name."""
    stale = "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource_of(kind)} "{name}": {why or stale}'
    return Refused(409, "Conflict", message, details_of(kind, name))


def forbidden(kind: Kind, name: str, why: str) -> Refused:
    """The object may not be written here."""
    return Refused(403, "Forbidden", f'{resource_of(kind)} "{name}" is forbidden: {why}', details_of(kind, name))


def invalid(kind: Kind, name: str, found: Sequence[Problem]) -> Refused:
    """The object breaks rules of its kind; all of them are listed."""
    words = [str(each) for each in found]
    said = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    full = f"{kind.name}.{kind.group}" if kind.group else kind.name
    details = details_of(kind, name, causes=[each.cause() for each in found]) | {"kind": kind.name}
    return Refused(422, "Invalid", f'{full} "{name}" is invalid: {said}', details)


def bad_request(message: str) -> Refused:
    """The request itself cannot be understood."""
    return Refused(400, "BadRequest", message)


def too_large(why: str) -> Refused:
    """The request asks for more than the server does at once."""
    return Refused(413, "RequestEntityTooLarge", f"the request is too large: {why}")


def unprocessable(why: str) -> Refused:
    """A JSON patch whose test failed or whose path does not exist."""
    message = f"the server rejected our request due to an error in our request: {why}"
    return Refused(422, "Invalid", message)


def expired(message: str) -> Refused:
    """What the client asks to go on from is no longer kept; it has to list again."""
    return Refused(410, "Expired", message)


def too_old(asked: int, oldest: int) -> Refused:
    """A watch from before the oldest event that is kept."""
    return expired(f"too old resource version: {asked} ({oldest})")
