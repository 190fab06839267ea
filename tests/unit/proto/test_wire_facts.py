"""The comparison of two proto files detects every change."""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from csi.v1 import csi_pb2
from tests.unit.proto import wire_facts

Change = Callable[[Any], None]


def copy_of_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """Return a descriptor that a test may change."""
    file = descriptor_pb2.FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def _set(name: str, of: Callable[[Any], Any]) -> Change:
    def change(element: Any) -> None:
        setattr(element, name, of(getattr(element, name)))

    return change


def _deprecate(element: Any) -> None:
    element.options.deprecated = True


def _drop_options(element: Any) -> None:
    """Remove the options of an element, or add one where there is none, which is a change too."""
    if element.options.ByteSize():
        element.ClearField("options")
    else:
        _deprecate(element)


RENAME = _set("name", lambda name: name + "_x")
RENUMBER = _set("number", lambda number: number + 1000)
FIELD = descriptor_pb2.FieldDescriptorProto
FIELD_CHANGES: dict[str, Change] = {
    "name": RENAME,
    "number": RENUMBER,
    "type": _set("type", lambda kind: FIELD.TYPE_BYTES if kind != FIELD.TYPE_BYTES else FIELD.TYPE_STRING),
    "message": _set("type_name", lambda name: name + "X"),
    "label": _set(
        "label", lambda label: FIELD.LABEL_REPEATED if label != FIELD.LABEL_REPEATED else FIELD.LABEL_OPTIONAL
    ),
    "option": _drop_options,
    "JSON name": _set("json_name", lambda _: "other"),
}
VALUE_CHANGES: dict[str, Change] = {"name": RENAME, "number": RENUMBER, "option": _drop_options}
METHOD_CHANGES: dict[str, Change] = {
    "name": RENAME,
    "request": _set("input_type", lambda name: name + "X"),
    "response": _set("output_type", lambda name: name + "X"),
    "client's stream": _set("client_streaming", lambda streams: not streams),
    "server's stream": _set("server_streaming", lambda streams: not streams),
    "option": _drop_options,
}


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, Any, dict[str, Change]]]:
    """Yield every field, enum value and method, with its name in the facts and its possible changes."""

    def values(enum: Any, prefix: str) -> Iterator[tuple[str, Any, dict[str, Change]]]:
        for value in enum.value:
            yield f"{prefix}.{value.name}", value, VALUE_CHANGES

    def parts(message: Any, prefix: str) -> Iterator[tuple[str, Any, dict[str, Change]]]:
        for field in message.field:
            yield f"{prefix}.{field.name}", field, FIELD_CHANGES
        for enum in message.enum_type:
            yield from values(enum, f"{prefix}.{enum.name}")
        for nested in message.nested_type:
            yield from parts(nested, f"{prefix}.{nested.name}")

    for message in file.message_type:
        yield from parts(message, message.name)
    for enum in file.enum_type:
        yield from values(enum, enum.name)
    for service in file.service:
        for method in service.method:
            yield f"{service.name}.{method.name}()", method, METHOD_CHANGES


ORIGINAL = wire_facts.of(copy_of_descriptor())
COUNT = len(list(elements(copy_of_descriptor())))


@settings(deadline=None)
@given(data=st.data())
def test_a_change_of_any_element_is_reported_by_its_name(data: st.DataObject) -> None:
    """Any change of any field, enum value or method is detected, with the element's name."""
    file = copy_of_descriptor()
    name, element, changes = list(elements(file))[data.draw(st.integers(0, COUNT - 1), label="element")]
    changes[data.draw(st.sampled_from(sorted(changes)), label=f"change of {name}")](element)

    assert name in wire_facts.differences(ORIGINAL, wire_facts.of(file))


@settings(deadline=None)
@given(data=st.data())
def test_a_missing_and_an_added_element_are_both_reported(data: st.DataObject) -> None:
    """A file with fewer elements than the published one differs, and so does one with more."""
    name = data.draw(st.sampled_from(sorted(ORIGINAL)))
    less = {key: fact for key, fact in ORIGINAL.items() if key != name}

    assert wire_facts.differences(ORIGINAL, less) == {name: (ORIGINAL[name], None)}
    assert wire_facts.differences(less, ORIGINAL) == {name: (None, ORIGINAL[name])}


def test_a_reserved_number_that_is_released_is_reported() -> None:
    """CSI 1.13 reserves the numbers of removed fields; a new field with such a number would be read as the old one."""
    file = copy_of_descriptor()
    stats = next(each for each in file.message_type if each.name == "NodeGetVolumeStatsResponse")
    assert [(each.start, each.end) for each in stats.reserved_range] == [(2, 3)]
    del stats.reserved_range[:]

    assert set(wire_facts.differences(ORIGINAL, wire_facts.of(file))) == {"NodeGetVolumeStatsResponse"}


def test_the_order_of_declarations_does_not_count() -> None:
    """Two files with the same declarations in a different order are equal."""
    file = copy_of_descriptor()
    reversed_types = list(reversed(file.message_type))
    del file.message_type[:]
    file.message_type.extend(reversed_types)

    assert wire_facts.differences(ORIGINAL, wire_facts.of(file)) == {}
