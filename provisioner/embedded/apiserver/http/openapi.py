"""
The OpenAPI v3 documents, as far as `kubectl apply` with server-side validation and `kubectl explain` need them.

Patches are declared with their `fieldValidation` parameter and without their media types. Clients therefore build
strategic merge patches from their own knowledge of the built-in kinds.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

from provisioner.embedded.apiserver.http.discovery import KUBERNETES
from provisioner.embedded.apiserver.store import schema
from provisioner.embedded.apiserver.store.ownership import topology
from provisioner.embedded.apiserver.store.ownership.topology import Node
from provisioner.embedded.apiserver.store.schema import Shape
from provisioner.model.kinds import KINDS, Json, Kind

_REFERENCE: Final = "#/components/schemas/"
_MACHINERY: Final = "io.k8s.apimachinery.pkg"
_QUANTITY: Final = f"{_MACHINERY}.api.resource.Quantity"
_INT_OR_STRING: Final = f"{_MACHINERY}.util.intstr.IntOrString"
_SHARED: Final[dict[str, Json]] = {
    _QUANTITY: {
        "description": "A number with a suffix such as Mi, Gi, M or m, as text or as a plain number.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
    _INT_OR_STRING: {
        "description": "A whole number or a text.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
_TYPES: Final[dict[str, Json]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"$ref": _REFERENCE + _QUANTITY},
    "int-or-string": {"$ref": _REFERENCE + _INT_OR_STRING},
    "any": {"type": "object"},
}
_META: Final = frozenset({
    "Condition", "FieldSelectorRequirement", "LabelSelector", "LabelSelectorRequirement", "ManagedFieldsEntry",
    "ObjectMeta", "OwnerReference",
})  # fmt: skip
_PACKAGES: Final = (
    ("StatefulSet", "apps"), ("Lease", "coordination"), ("StorageClass", "storage"),
    ("VolumeAttributesClass", "storage"), ("CSIDriver", "storage"), ("CSINode", "storage"),
    ("CSIStorageCapacity", "storage"),
)  # fmt: skip
_MERGED: Final = {"leaf": "atomic", "set": "set", "keyed": "map"}
"""The values of x-kubernetes-list-type by node type."""


def index() -> Json:
    """Return the URL of the document of each group and version."""
    roots = sorted({kind.path().rpartition("/")[0] for kind in KINDS})
    return {"paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in roots}}


# unbounded: one document for each group that is served
@cache
def document(root: str) -> Json:
    """Return the document of one group and version; imports the models, so do not call it in an event loop."""
    kinds = [kind for kind in KINDS if kind.path().rpartition("/")[0] == root]
    schemas: dict[str, Json] = dict(_SHARED)
    paths: dict[str, Json] = {}
    for kind in kinds:
        shape = schema.root(kind)
        _collect(shape, schemas)
        assert shape.model is not None  # noqa: S101 - an object has one
        schemas[_name(shape.model)]["x-kubernetes-group-version-kind"] = [_identity(kind)]
        paths |= _paths(kind, _name(shape.model))
    info = {"title": "Mooring embedded", "version": f"{KUBERNETES}+embedded"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _name(model: type) -> str:
    """Return a model's name as Kubernetes publishes it; `kubectl explain` prints its last part."""
    short = schema.short_name(model)
    if short in _META:
        return f"{_MACHINERY}.apis.meta.v1.{short}"
    package = next((package for start, package in _PACKAGES if short.startswith(start)), "core")
    return f"io.k8s.api.{package}.v1.{short}"


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
    """Add the schemas of an object and of every object below it, each once."""
    for model in _models(shape):
        if _name(model) in schemas:
            continue
        node, fields, descriptions = topology.model_node(model), schema.fields(model), schema.descriptions(model)
        properties = {name: _property(node.field(name), descriptions[name]) for name in fields}
        found: Json = {"type": "object", "description": _about(model), "properties": properties}
        if required := sorted(schema.required(model)):
            found["required"] = required
        if schema.short_name(model) in topology.ATOMIC_MODELS:
            found["x-kubernetes-map-type"] = "atomic"
        schemas[_name(model)] = found
        for each in fields.values():
            _collect(each, schemas)


def _about(model: type) -> str:
    """Return the first paragraph of a model's docstring."""
    return " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split())


def _models(shape: Shape) -> Iterator[type]:
    if shape.model is not None:
        yield shape.model
    elif shape.inner is not None:
        yield from _models(shape.inner)


def _property(node: Node, description: str) -> Json:
    """Return a field's schema. The models describe no field that is an object: it gets the text of its type."""
    text = description or next(map(_about, _models(node.shape)), "")
    found: Json = {"description": text} if text else {}
    if node.shape.type_name == "list":
        found["x-kubernetes-list-type"] = _MERGED[node.type]
        if node.keys:
            found["x-kubernetes-list-map-keys"] = list(node.keys)
    if node.shape.type_name == "map" and node.type == "leaf":
        found["x-kubernetes-map-type"] = "atomic"
    typed = _typed(node.shape)
    return found | ({"allOf": [typed]} if "$ref" in typed else typed)


def _typed(shape: Shape) -> Json:
    if shape.model is not None:
        return {"$ref": _REFERENCE + _name(shape.model)}
    if shape.type_name == "list":
        return {"type": "array", "items": _typed(shape.inner or schema.ANY)}
    if shape.type_name == "map":
        return {"type": "object", "additionalProperties": _typed(shape.inner or schema.ANY)}
    return dict(_TYPES[shape.type_name])
