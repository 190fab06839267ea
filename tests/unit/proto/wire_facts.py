"""The interface that a proto file defines, as a flat map that can be compared and printed."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2

Facts = dict[str, Any]
"""From the name of an element (``Volume.volume_id``, ``Node.NodeGetInfo()``) to its properties."""


def of(file: descriptor_pb2.FileDescriptorProto) -> Facts:
    """Return the properties that matter on the wire or to a caller: not the order of declarations, nor comments."""
    facts: Facts = {
        "file": (file.package, file.syntax, file.edition, tuple(sorted(file.dependency)), _options(file.options))
    }
    for message in file.message_type:
        facts.update(_message(message, message.name))
    for enum in file.enum_type:
        facts.update(_enum(enum, enum.name))
    for extension in file.extension:
        facts[f"extend {extension.extendee} {extension.name}"] = _field(extension, "")
    for service in file.service:
        facts[f"service {service.name}"] = _options(service.options)
        for method in service.method:
            facts[f"{service.name}.{method.name}()"] = (
                method.input_type,
                method.output_type,
                "client streams" if method.client_streaming else "",
                "server streams" if method.server_streaming else "",
                _options(method.options),
            )
    return facts


def differences(published: Facts, committed: Facts) -> dict[str, tuple[Any, Any]]:
    """Return each element that differs, with its properties in both files; None where a file does not have it."""
    return {
        name: (published.get(name), committed.get(name))
        for name in sorted(published.keys() | committed.keys())
        if published.get(name) != committed.get(name)
    }


def render(facts: Facts) -> str:
    """Return one line for each element, sorted by name."""
    return "".join(f"{name} = {fact!r}\n" for name, fact in sorted(facts.items()))


def _message(message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    reserved = sorted((each.start, each.end) for each in message.reserved_range)
    yield name, (reserved, sorted(message.reserved_name), len(message.extension_range), _options(message.options))
    for declared in message.oneof_decl:
        yield f"{name} oneof {declared.name}", _options(declared.options)
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        yield f"{name}.{field.name}", _field(field, oneof)
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.{enum.name}")


def _field(field: descriptor_pb2.FieldDescriptorProto, oneof: str) -> tuple[Any, ...]:
    return (
        field.number,
        descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower(),
        field.type_name,
        descriptor_pb2.FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower(),
        f"oneof {oneof}" if oneof else "",
        "optional" if field.proto3_optional else "",
        field.default_value,
        field.json_name or _json_name(field.name),
        _options(field.options),
    )


def _json_name(name: str) -> str:
    """Return the default JSON name of a field, which a generator may omit."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _enum(enum: descriptor_pb2.EnumDescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    reserved = sorted((each.start, each.end) for each in enum.reserved_range)
    yield name, (reserved, sorted(enum.reserved_name), _options(enum.options))
    for value in enum.value:
        yield f"{name}.{value.name}", (value.number, _options(value.options))


def _options(options: Any) -> str:
    """Return options as hexadecimal bytes: an extension counts, even if this process does not know it."""
    serialized: bytes = options.SerializeToString(deterministic=True)
    return serialized.hex()
