"""
The fields of every kind, read from the models of the official `kubernetes` package.

The models are imported with the first write only: they cost about 0.6 s of CPU time and 20 MiB of memory.
"""

import datetime as dt
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Union, get_args, get_origin

from provisioner.model.kinds import EVENT, Kind

QUANTITIES: Final = frozenset({
    ("V1PersistentVolumeSpec", "capacity"),
    ("V1VolumeResourceRequirements", "limits"),
    ("V1VolumeResourceRequirements", "requests"),
    ("V1ResourceRequirements", "limits"),
    ("V1ResourceRequirements", "requests"),
    ("V1PersistentVolumeClaimStatus", "allocatedResources"),
    ("V1PersistentVolumeClaimStatus", "capacity"),
    ("V1NodeStatus", "allocatable"),
    ("V1NodeStatus", "capacity"),
    ("V1CSIStorageCapacity", "capacity"),
    ("V1CSIStorageCapacity", "maximumVolumeSize"),
    ("V1EmptyDirVolumeSource", "sizeLimit"),
    ("V1ResourceFieldSelector", "divisor"),
    ("V1PodSpec", "overhead"),
    ("V1ContainerStatus", "allocatedResources"),
})  # fmt: skip
"""Model and field of every resource quantity; the models declare them as strings."""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    The type of one value.

    `type_name` is string, integer, number, boolean, time, quantity, int-or-string, any, list, map or object; `inner`
    is the shape of a list's or map's entries, `model` the class of an object.
    """

    type_name: str
    inner: "Shape | None" = None
    model: type | None = None


ANY: Final = Shape("any")
_LEAVES: Final[dict[Any, Shape]] = {
    str: Shape("string"),
    int: Shape("integer"),
    float: Shape("number"),
    bool: Shape("boolean"),
    dt.datetime: Shape("time"),
    object: ANY,
    Any: ANY,
}
_QUANTITY: Final = Shape("quantity")


def root(kind: Kind) -> Shape:
    """Return the shape of a whole object of this kind."""
    from kubernetes.client import models  # noqa: PLC0415 - takes half a second, and only writes need it

    prefix = "Core" if kind is EVENT else ""
    return Shape("object", model=getattr(models, f"{prefix}V1{kind.name}"))


# unbounded: one entry for each model of the API
@cache
def fields(model: type) -> Mapping[str, Shape]:
    """Return the fields of an object by their JSON names."""
    found: dict[str, Shape] = {}
    declared: Mapping[str, Any] = model.model_fields  # type: ignore[attr-defined]
    for name, info in declared.items():
        wire = info.serialization_alias or info.alias or name
        shape = _shape(info.annotation)
        if (model.__name__, wire) in QUANTITIES:
            shape = Shape("map", inner=_QUANTITY) if shape.type_name == "map" else _QUANTITY
        found[wire] = shape
    return found


# unbounded: one entry for each model of the API
@cache
def descriptions(model: type) -> Mapping[str, str]:
    """Return the descriptions of an object's fields by their JSON names."""
    declared: Mapping[str, Any] = model.model_fields  # type: ignore[attr-defined]
    return {info.serialization_alias or info.alias or name: info.description or "" for name, info in declared.items()}


# unbounded: one entry for each model of the API
@cache
def required(model: type | None) -> frozenset[str]:
    """Return the JSON names of the fields that an object must have."""
    if model is None:
        return frozenset()
    declared: Mapping[str, Any] = model.model_fields  # type: ignore[attr-defined]
    return frozenset(
        info.serialization_alias or info.alias or name for name, info in declared.items() if info.is_required()
    )


def _shape(annotation: Any) -> Shape:
    if annotation in _LEAVES:
        return _LEAVES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0])
    if origin in (Union, types.UnionType):
        shapes = [_shape(each) for each in arguments if each is not type(None)]
        return shapes[0] if len(shapes) == 1 else Shape("int-or-string")
    if origin is list:
        return Shape("list", inner=_shape(arguments[0]))
    if origin is dict:
        return Shape("map", inner=_shape(arguments[1]))
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return Shape("object", model=annotation)
    return ANY


# unbounded: one entry for each model of the API
@cache
def short_name(model: type | None) -> str:
    """Return a model's name in Kubernetes: without the version prefix."""
    name = "" if model is None else model.__name__
    return name.removeprefix("Core").removeprefix("V1")
