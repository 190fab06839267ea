"""The comparison of two proto files sees every change: one that cannot fail would prove nothing."""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from csi.v1 import csi_pb2
from tests.unit.proto import wire_facts

Change = Callable[[Any], None]


def a_copy() -> descriptor_pb2.FileDescriptorProto:
    """A descriptor to spoil."""
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
    """Where there is none, an option comes instead: this is a change, too."""
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
    """Every field, enum value and method with its name among the facts, and what can be done to it."""

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


ORIGINAL = wire_facts.of(a_copy())
COUNT = len(list(elements(a_copy())))


@settings(deadline=None)
@given(data=st.data())
def test_a_change_of_any_element_is_told_by_its_name(data: st.DataObject) -> None:
    """Whatever changes in whichever field, enum value or method: the difference is seen, and says where."""
    file = a_copy()
    name, element, changes = list(elements(file))[data.draw(st.integers(0, COUNT - 1), label="element")]
    changes[data.draw(st.sampled_from(sorted(changes)), label=f"change of {name}")](element)

    assert name in wire_facts.differences(ORIGINAL, wire_facts.of(file))


@settings(deadline=None)
@given(data=st.data())
def test_a_missing_and_an_added_element_are_both_told(data: st.DataObject) -> None:
    """A file with less than the published one differs as much as one with more."""
    name = data.draw(st.sampled_from(sorted(ORIGINAL)))
    less = {key: fact for key, fact in ORIGINAL.items() if key != name}

    assert wire_facts.differences(ORIGINAL, less) == {name: (ORIGINAL[name], None)}
    assert wire_facts.differences(less, ORIGINAL) == {name: (None, ORIGINAL[name])}


def test_a_reserved_number_that_is_given_free_is_told() -> None:
    """CSI 1.13 reserved the numbers of what it removed; taking one again would be read as the old field."""
    file = a_copy()
    stats = next(each for each in file.message_type if each.name == "NodeGetVolumeStatsResponse")
    assert [(each.start, each.end) for each in stats.reserved_range] == [(2, 3)]
    del stats.reserved_range[:]

    assert set(wire_facts.differences(ORIGINAL, wire_facts.of(file))) == {"NodeGetVolumeStatsResponse"}


def test_the_order_of_declarations_does_not_count() -> None:
    """Two files that declare the same in another order are one interface."""
    file = a_copy()
    turned = list(reversed(file.message_type))
    del file.message_type[:]
    file.message_type.extend(turned)

    assert wire_facts.differences(ORIGINAL, wire_facts.of(file)) == {}
