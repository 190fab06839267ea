"""
The OpenAPI v3 documents: enough for `kubectl apply` to leave validation to the server, and for `kubectl explain`.

Patches are declared with their `fieldValidation` parameter and without their media types, so that clients build
strategic merge patches from what they know of the built-in kinds.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from provisioner.embedded.face.discovery import KUBERNETES
from provisioner.embedded.store import schema
from provisioner.embedded.store.schema import Shape
from provisioner.model.kinds import KINDS, Json, Kind

_REFERENCE: Final = "#/components/schemas/"
_TYPES: Final[dict[str, Json]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {},
}


def index() -> Json:
    """Where the document of each group and version is."""
    roots = sorted({kind.path().rpartition("/")[0] for kind in KINDS})
    return {"paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in roots}}


@cache
def document(root: str) -> Json:
    """The document of one group and version, named by its path; loads the models, so not for an event loop."""
    kinds = [kind for kind in KINDS if kind.path().rpartition("/")[0] == root]
    schemas: dict[str, Json] = {}
    paths: dict[str, Json] = {}
    for kind in kinds:
        shape = schema.root(kind)
        _collect(shape, schemas)
        assert shape.model is not None  # noqa: S101 - an object has one
        schemas[shape.model.__name__]["x-kubernetes-group-version-kind"] = [_identity(kind)]
        paths |= _paths(kind, shape.model.__name__)
    info = {"title": "Mooring embedded", "version": f"{KUBERNETES}+embedded"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _identity(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


def _paths(kind: Kind, model: str) -> Json:
    namespace = "{namespace}" if kind.namespaced else ""
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": {"$ref": _REFERENCE + model}}}}}

    def operation(action: str) -> Json:
        parameters = [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in ("dryRun", "fieldValidation")
        ]
        about = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": _identity(kind)}
        return {"parameters": parameters, "responses": answer, **about}

    return {
        kind.path(namespace): {"post": operation("post")},
        kind.path(namespace, "{name}"): {"put": operation("put"), "patch": operation("patch")},
    }


def _collect(shape: Shape, schemas: dict[str, Json]) -> None:
    """Describe an object and every object it can hold, each once."""
    for model in _models(shape):
        if model.__name__ in schemas:
            continue
        fields, words = schema.fields(model), schema.descriptions(model)
        properties = {name: _property(each, words[name]) for name, each in fields.items()}
        schemas[model.__name__] = {"type": "object", "description": model.__doc__ or "", "properties": properties}
        for each in fields.values():
            _collect(each, schemas)


def _models(shape: Shape) -> Iterator[type]:
    if shape.model is not None:
        yield shape.model
    elif shape.inner is not None:
        yield from _models(shape.inner)


def _property(shape: Shape, words: str) -> Json:
    described = {"description": words} if words else {}
    if shape.model is not None:
        return described | {"allOf": [{"$ref": _REFERENCE + shape.model.__name__}]}
    return described | _typed(shape)


def _typed(shape: Shape) -> Json:
    inner: Any = None
    if shape.inner is not None:
        inner = {"$ref": _REFERENCE + shape.inner.model.__name__} if shape.inner.model else _typed(shape.inner)
    if shape.word == "list":
        return {"type": "array", "items": inner}
    if shape.word == "map":
        return {"type": "object", "additionalProperties": inner}
    return dict(_TYPES[shape.word])
