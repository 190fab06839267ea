"""
What an API server refuses, as our own tree: nobody outside this package sees the client library's exceptions.

ApiError
    NotFound         404
    AlreadyExists    409, reason AlreadyExists
    Conflict         409: read again, decide again
    Gone             410: list again
    Invalid          400 and 422: the object is wrong, trying again is of no use
    Forbidden        401 and 403
    Unavailable      no answer, 429 and 5xx: try again later

BadKubeconfig stands apart: no server was asked yet.
"""

from typing import Final


class ApiError(Exception):
    """A request that failed: `status` and `reason` as Kubernetes has them, `message` for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    """The object, its namespace or its kind is not there."""


class AlreadyExists(ApiError):
    """An object of this name is there already."""


class Conflict(ApiError):
    """The object changed since it was read, or a precondition does not hold."""


class Gone(ApiError):
    """The resourceVersion is too old to watch or list from."""


class Invalid(ApiError):
    """The server understood the request and refuses its content."""


class Forbidden(ApiError):
    """Not allowed, or not known."""


class Unavailable(ApiError):
    """The server cannot answer now, or cannot be reached."""


class BadKubeconfig(Exception):
    """The kubeconfig cannot be read or names no server: says which file, and what is wrong with it."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Unavailable,
}


def error_of(status: int, *, reason: str, message: str) -> ApiError:
    """The error that stands for an HTTP answer."""
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ApiError)
    return kind(status, reason, message)
