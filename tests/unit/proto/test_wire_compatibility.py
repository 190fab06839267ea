"""Our csi.proto and the published CSI 1.13 are one interface: every name, number, type, label, option and method."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from csi.v1 import csi_pb2, inventory_pb2, registration_pb2
from tests.conftest import ROOT

Facts = dict[str, Any]


def facts_of(file: descriptor_pb2.FileDescriptorProto) -> Facts:
    """Everything that matters on the wire or to a caller, as a flat map from a full name to what it is."""
    facts: Facts = {"package": file.package, "syntax": file.syntax}
    for message in file.message_type:
        facts.update(_message(message, message.name))
    for enum in file.enum_type:
        facts.update(_enum(enum, enum.name))
    for extension in file.extension:
        facts[f"extend {extension.extendee} {extension.name}"] = (extension.number, extension.type, extension.label)
    for service in file.service:
        facts[f"service {service.name}"] = _options(service.options)
        for method in service.method:
            facts[f"{service.name}.{method.name}()"] = (
                method.input_type,
                method.output_type,
                method.client_streaming,
                method.server_streaming,
                _options(method.options),
            )
    return facts


def _message(message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    yield name, (_options(message.options), [(each.start, each.end) for each in message.reserved_range])
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        facts = (field.number, field.type, field.label, field.type_name, oneof, _options(field.options))
        yield f"{name}.{field.name}", facts
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.{enum.name}")


def _enum(enum: descriptor_pb2.EnumDescriptorProto, name: str) -> Iterator[tuple[str, Any]]:
    yield name, (_options(enum.options), [(each.start, each.end) for each in enum.reserved_range])
    for value in enum.value:
        yield f"{name}.{value.name}", (value.number, _options(value.options))


def _options(options: Any) -> bytes:
    """Options as bytes: extensions count, whether this process knows them or not."""
    serialized: bytes = options.SerializeToString(deterministic=True)
    return serialized


def ours() -> descriptor_pb2.FileDescriptorProto:
    """The descriptor of our own file."""
    file = descriptor_pb2.FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return file


@pytest.mark.needs("go")
def test_every_element_is_the_one_of_the_published_interface() -> None:
    """Nothing is missing, nothing is added, nothing differs."""
    tool = subprocess.run(
        [str(ROOT / "hack" / "go-tool"), "descriptor"], check=True, capture_output=True, text=True
    ).stdout.strip()
    published = descriptor_pb2.FileDescriptorProto.FromString(
        subprocess.run([tool], check=True, capture_output=True).stdout
    )

    theirs, mine = facts_of(published), facts_of(ours())

    assert len(theirs) > 500
    assert {
        name: (theirs.get(name), mine.get(name))
        for name in theirs.keys() | mine.keys()
        if theirs.get(name) != mine.get(name)
    } == {}


@pytest.mark.parametrize("change", ["number", "type", "label", "option", "method", "enum value"])
def test_the_comparison_sees_each_kind_of_difference(change: str) -> None:
    """A comparison that cannot fail would prove nothing."""
    other = ours()
    message = next(each for each in other.message_type if each.name == "CreateVolumeRequest")
    if change == "number":
        message.field[0].number = 99
    elif change == "type":
        message.field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    elif change == "label":
        message.field[0].label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    elif change == "option":
        next(each for each in message.field if each.name == "secrets").ClearField("options")
    elif change == "method":
        del other.service[0].method[0]
    else:
        other.enum_type[0].value[1].number = 77

    assert facts_of(other) != facts_of(ours())


def test_kubelet_finds_the_registration_service_under_the_names_it_dials() -> None:
    """Kubelet calls /pluginregistration.Registration/GetInfo and NotifyRegistrationStatus."""
    service = registration_pb2.DESCRIPTOR.services_by_name["Registration"]

    assert service.full_name == "pluginregistration.Registration"
    assert [method.name for method in service.methods] == ["GetInfo", "NotifyRegistrationStatus"]
    assert [(field.name, field.number) for field in registration_pb2.PluginInfo.DESCRIPTOR.fields] == [
        ("type", 1),
        ("name", 2),
        ("endpoint", 3),
        ("supported_versions", 4),
    ]


def test_inventory_keeps_its_names() -> None:
    """Controller and driver may be of different versions: the service's names are an API."""
    service = inventory_pb2.DESCRIPTOR.services_by_name["Inventory"]

    assert service.full_name == "mooring.v1.Inventory"
    assert [method.name for method in service.methods] == [
        "ListPools",
        "ListManifests",
        "RecordHolder",
        "ListTrash",
        "Undelete",
        "Purge",
    ]
