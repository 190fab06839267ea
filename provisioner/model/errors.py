"""What is wrong with an object that came over the wire."""

from provisioner.model.kinds import Object


class InvalidObject(ValueError):
    """An API object that cannot be understood: names the kind, the object and the field."""

    def __init__(self, *, kind: str, obj: Object, field: str, problem: str) -> None:
        found = obj.get("metadata")
        metadata = found if isinstance(found, dict) else {}
        name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
        super().__init__(f"{kind} {name or '(without a name)'}: {field}: {problem}")
        self.kind = kind
        self.field = field


class InvalidParameter(ValueError):
    """A StorageClass parameter that Mooring does not know, or a value that it does not accept."""
