"""
Errors of an API server. The client library's exceptions never leave this package.

ApiError
    NotFound         404
    AlreadyExists    409, reason AlreadyExists
    Conflict         409: read the object and decide again
    Gone             410: list again
    Invalid          400 and 422: the object is invalid, retrying is of no use
    Forbidden        401 and 403
    Unavailable      no response, 429 and 5xx: retry later

KubeconfigError is not an ApiError: no request was sent.
"""

from typing import Final

from provisioner.model.errors import ExpectedError


class ApiError(ExpectedError):
    """A request that failed: `status` and `reason` as in Kubernetes' Status, `message` for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):  # Kubernetes' reason
    """The object, its namespace or its kind does not exist."""


class AlreadyExists(ApiError):  # as above
    """An object of this name exists already."""


class Conflict(ApiError):  # as above
    """The object changed since it was read, or a precondition failed."""


class Gone(ApiError):  # as above
    """The resourceVersion is too old to watch or list from."""


class Invalid(ApiError):  # as above
    """The server rejected the content of the request."""


class Forbidden(ApiError):  # as above
    """The client is not authenticated, or not authorized."""


class Unavailable(ApiError):  # as above
    """The server cannot respond now, or cannot be reached."""


class KubeconfigError(Exception):
    """The kubeconfig cannot be read or names no server. The message has the file and the reason."""


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
    """Return the error for the status and reason of an HTTP response."""
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ApiError)
    return kind(status, reason, message)
