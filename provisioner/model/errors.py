"""Errors in API objects."""

from provisioner.model.kinds import Object


class InvalidObjectError(ValueError):
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
