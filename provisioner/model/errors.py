"""
Errors of API objects, and the one base of all errors whose cause is outside of this program.

ExpectedError
    InvalidObjectError       an object
    kube.errors.ApiError     the API server
    drivers.client.RpcError  a driver
"""

from provisioner.model.kinds import Object


class ExpectedError(Exception):
    """An error whose message says what to do: it is no bug, so no log has a traceback of it."""


class InvalidObjectError(ExpectedError, ValueError):
    """An invalid API object; the message names the kind, the object and the field."""

    def __init__(self, *, kind: str, obj: Object, field: str, problem: str) -> None:
        found = obj.get("metadata")
        metadata = found if isinstance(found, dict) else {}
        name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
        super().__init__(f"{kind} {name or '(without a name)'}: {field}: {problem}")
        self.kind = kind
        self.field = field


class InvalidParameterError(ValueError):
    """An unknown StorageClass parameter, or an invalid value of one."""
