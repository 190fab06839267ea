"""
Validation of an object against its schema: unknown fields, types, and the canonical form of quantities.

Source: k8s.io/apiserver, pkg/endpoints/handlers (fieldValidation), and the decoding of k8s.io/apimachinery.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from provisioner.embedded.apiserver.store import errors, schema
from provisioner.embedded.apiserver.store.schema import Shape
from provisioner.model.kinds import Json, Kind
from provisioner.model.quantity import InvalidQuantityError, Quantity

Validation = Literal["Strict", "Warn", "Ignore"]
"""What happens to unknown fields: the request is refused, or they are dropped with or without a warning."""


class _WrongTypeError(Exception):
    """A value of the wrong type; the message names the field and the types."""


@dataclass(slots=True)
class _Reading:
    unknown: list[str] = field(default_factory=list)


def conform(kind: Kind, obj: Json, *, validation: Validation) -> tuple[Json, list[str]]:
    """
    Return the object as it is stored, and the paths of dropped fields that the client is warned about.

    Raise StatusError (400) for another apiVersion or kind than expected, for a value of a wrong type and, under
    Strict, for unknown fields, all of which are listed.
    """
    sent_type = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.name)
    if sent_type != (kind.api_version, kind.name):
        raise errors.bad_request(
            f"the object provided is a {sent_type[1]} of {sent_type[0]}, "
            f"and this path is for {kind.name} of {kind.api_version}"
        )
    reading = _Reading()
    try:
        clean: Json = _read(schema.root(kind), obj, "", reading)
    except _WrongTypeError as wrong:
        raise _bad_object(kind, str(wrong)) from None
    if reading.unknown and validation == "Strict":
        raise _bad_object(kind, f"strict decoding error: {', '.join(map(unknown_field, reading.unknown))}")
    clean["apiVersion"], clean["kind"] = kind.api_version, kind.name
    return clean, reading.unknown if validation == "Warn" else []


def unknown_field(path: str) -> str:
    """Return upstream's warning about a field that is not in the schema."""
    return f'unknown field "{path}"'


def _bad_object(kind: Kind, why: str) -> errors.StatusError:
    version = kind.api_version
    return errors.bad_request(f'{kind.name} in version "{version}" cannot be handled as a {kind.name}: {why}')


def _read(shape: Shape, value: Any, path: str, reading: _Reading) -> Any:
    """Return the value in its canonical form; null is the same as absent."""
    match shape.type_name:
        case "object":
            return dict(_object(shape, _typed(value, dict, path, "an object"), path, reading))
        case "map":
            entries = _typed(value, dict, path, "a map")
            return {
                key: _read(_inner(shape), each, f"{path}.{key}", reading)
                for key, each in entries.items()
                if each is not None
            }
        case "list":
            return [
                _read(_inner(shape), each, f"{path}[{index}]", reading)
                for index, each in enumerate(_typed(value, list, path, "a list"))
            ]
        case "quantity":
            return _quantity(value, path)
        case "time":
            return _time(value, path)
        case "int-or-string":
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise _WrongTypeError(f"{path}: expected a number or a string, got {_named(value)}")
            return value
        case "any":
            return value
        case type_name:
            return _typed(value, _LEAVES[type_name][0], path, _LEAVES[type_name][1])


_LEAVES: Final[dict[str, tuple[type, str]]] = {
    "string": (str, "a string"),
    "integer": (int, "an integer"),
    "number": (float, "a number"),
    "boolean": (bool, "true or false"),
}


def _object(shape: Shape, value: Json, path: str, reading: _Reading) -> Iterator[tuple[str, Any]]:
    assert shape.model is not None  # noqa: S101 - objects have one
    known = schema.fields(shape.model)
    for name, each in value.items():
        where = f"{path}.{name}" if path else name
        if name not in known:
            reading.unknown.append(where)
        elif each is not None:
            yield name, _read(known[name], each, where, reading)


def _inner(shape: Shape) -> Shape:
    return shape.inner or schema.ANY


def _typed(value: Any, expected: type, path: str, description: str) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise _WrongTypeError(f"{path or 'the body'}: expected {description}, got {_named(value)}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _WrongTypeError(f"{path}: {value} does not fit into 64 bits")
    return value


def _quantity(value: Any, path: str) -> str:
    try:
        return str(Quantity.parse(value))
    except InvalidQuantityError as error:
        raise _WrongTypeError(f"{path}: {error}") from None


def _time(value: Any, path: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _WrongTypeError(f"{path}: expected a time as in 2006-01-02T15:04:05Z, got {_named(value)}")
    return str(value)


def _named(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
