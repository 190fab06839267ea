"""
Bodies in Kubernetes' protobuf, as kubectl sends them for the few objects that it makes itself.

Source of the envelope: Kubernetes API concepts, "Alternate representations of resources"; of the wire format: the
encoding guide of Protocol Buffers. An answer in JSON is all that such a client needs; it always accepts it, too.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

from provisioner.embedded.apiserver.http.protobuf_messages import ENVELOPE, MESSAGES, ROOTS, Field
from provisioner.model.kinds import Json

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class Undecodable(Exception):
    """The bytes are no protobuf of Kubernetes; says what is wrong."""


class UnknownKind(Exception):
    """The object is of a kind that is not read from protobuf here; `kind` says which."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def decode(data: bytes) -> Json:
    """The object in the form of JSON; raises Undecodable, and UnknownKind for what has to come as JSON."""
    if not data.startswith(_MAGIC):
        raise Undecodable("it does not begin with the envelope of Kubernetes")
    envelope = _message(ENVELOPE, data[len(_MAGIC) :])
    said = envelope.get("typeMeta", {})
    api_version, kind = said.get("apiVersion", ""), said.get("kind", "")
    if kind not in ROOTS or envelope.get("contentEncoding"):
        raise UnknownKind(kind)
    return {"apiVersion": api_version, "kind": kind, **_message(MESSAGES[kind], envelope.get("raw", b""))}


def _message(fields: dict[int, Field], data: bytes) -> Json:
    found: Json = {}
    for number, value in _values(data):
        field = fields.get(number)
        if field is None:
            continue
        decoded = _decoded(field, value)
        if field.repeated:
            found.setdefault(field.name, []).append(decoded)
        elif field.type == "map":
            found.setdefault(field.name, {}).update(decoded)
        elif field.keeps_zero or decoded not in ("", 0, None, {}, b""):
            found[field.name] = decoded
    return found


def _decoded(field: Field, value: int | bytes) -> Any:
    """A value as its field means it. Empty ones are dropped by the caller: that is how they are told from set ones."""
    if field.type in ("int", "bool"):
        if not isinstance(value, int):
            raise Undecodable(f"{field.name} is no number")
        return bool(value) if field.type == "bool" else value - (1 << 64) * (value >> 63)
    if not isinstance(value, bytes):
        raise Undecodable(f"{field.name} is a bare number")
    match field.type:
        case "bytes":
            return value
        case "string":
            return _text(value)
        case "map":
            entry = _message({1: Field("key", keeps_zero=True), 2: Field("value", keeps_zero=True)}, value)
            return {entry.get("key", ""): entry.get("value", "")}
        case "time":
            seconds = _message({1: Field("seconds", "int")}, value).get("seconds")
            return seconds and _time(seconds)
        case "int-or-string":
            either = _message({1: Field("type", "int"), 2: Field("number", "int"), 3: Field("text")}, value)
            return either.get("text", "") if either.get("type") else either.get("number", 0)
        case name:
            return _message(MESSAGES[name], value)


def _time(seconds: int) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        raise Undecodable("a time in it is in no year that can be written") from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Undecodable("a text in it is not UTF-8") from None


def _values(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field on the wire."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, form = tag >> 3, tag & 7
        if form == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if form == _BYTES:
            length, at = _varint(data, at)
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if form == _EIGHT_BYTES else 4
        else:
            raise Undecodable(f"field {number} has the unknown form {form}")
        if at + length > len(data):
            raise Undecodable("it ends too early")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Undecodable("it ends too early")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & ((1 << 64) - 1), at
    raise Undecodable("a number in it is too long")
