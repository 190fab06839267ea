"""
Decoder of request bodies in Kubernetes' protobuf, which kubectl sends for the few objects that it creates itself.

Source of the envelope: Kubernetes API concepts, "Alternate representations of resources"; of the wire format: the
encoding guide of Protocol Buffers. Responses are JSON, which these clients accept, too.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

from provisioner.embedded.apiserver.http.protobuf_messages import ENVELOPE, MESSAGES, ROOTS, Field
from provisioner.model.kinds import Json

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class DecodeError(Exception):
    """The bytes are not Kubernetes protobuf; the message names the error."""


class UnknownKindError(Exception):
    """The object's kind, `kind`, cannot be decoded from protobuf here."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def decode(data: bytes) -> Json:
    """Decode an object to its JSON form; raise DecodeError, or UnknownKindError if it must be sent as JSON."""
    if not data.startswith(_MAGIC):
        raise DecodeError("it does not begin with the Kubernetes envelope")
    envelope = _message(ENVELOPE, data[len(_MAGIC) :])
    type_meta = envelope.get("typeMeta", {})
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    if kind not in ROOTS or envelope.get("contentEncoding"):
        raise UnknownKindError(kind)
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
    """Decode a value by its field's type. The caller drops empty values, which mean an absent field."""
    if field.type in ("int", "bool"):
        if not isinstance(value, int):
            raise DecodeError(f"{field.name} is not a number")
        return bool(value) if field.type == "bool" else value - (1 << 64) * (value >> 63)
    if not isinstance(value, bytes):
        raise DecodeError(f"{field.name} is a number, not bytes")
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
        raise DecodeError("a timestamp is out of range") from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DecodeError("a string is not UTF-8") from None


def _values(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each encoded field."""
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        number, form = tag >> 3, tag & 7
        if form == _VARINT:
            value, offset = _varint(data, offset)
            yield number, value
            continue
        if form == _BYTES:
            length, offset = _varint(data, offset)
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if form == _EIGHT_BYTES else 4
        else:
            raise DecodeError(f"field {number} has the unknown wire type {form}")
        if offset + length > len(data):
            raise DecodeError("it ends too early")
        yield number, data[offset : offset + length]
        offset += length


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            raise DecodeError("it ends too early")
        byte = data[offset]
        offset += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & ((1 << 64) - 1), offset
    raise DecodeError("a number is too long")
