"""Mooring's csi.proto is equal to the published CSI 1.13: every name, number, type, label, option and method."""

import hashlib
import subprocess
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from csi.v1 import csi_pb2
from tests.conftest import ROOT
from tests.unit.proto import wire_facts

PUBLISHED = "964b3f8ce56bc72e59803c8ba83a3e131108ed22970921ff67d1177f0c8de322"
"""SHA-256 of the facts of spec v1.13.0, to detect a change on a machine without Go to fetch the published one."""


def committed() -> wire_facts.Facts:
    """Return the facts of Mooring's file, from the committed stubs."""
    file = descriptor_pb2.FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return wire_facts.of(file)


def digest(facts: wire_facts.Facts) -> str:
    """Return the SHA-256 of all facts."""
    return hashlib.sha256(wire_facts.render(facts).encode()).hexdigest()


@pytest.fixture(scope="session")
def published() -> wire_facts.Facts:
    """The facts of the interface from which the Go module of CSI was generated."""
    built = subprocess.run([str(ROOT / "hack" / "go-tool"), "descriptor"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    printed = subprocess.run([built.stdout.strip()], capture_output=True, check=False)
    assert printed.returncode == 0, printed.stderr
    return wire_facts.of(descriptor_pb2.FileDescriptorProto.FromString(printed.stdout))


@pytest.mark.needs("go")
def test_every_element_is_the_one_of_the_published_interface(published: wire_facts.Facts) -> None:
    """No element is missing, additional or different."""
    services = {name for name in published if name.startswith("service ")}

    assert services == {
        f"service {name}" for name in ("Identity", "Controller", "GroupController", "SnapshotMetadata", "Node")
    }
    assert len(published) > 500
    assert wire_facts.differences(published, committed()) == {}


@pytest.mark.needs("go")
def test_the_recorded_digest_is_the_published_one(published: wire_facts.Facts) -> None:
    """The digest that a machine without Go compares with is the published interface's."""
    assert digest(published) == PUBLISHED


def test_our_file_has_the_recorded_digest() -> None:
    """A machine without Go also detects that Mooring's file differs from the published interface."""
    assert digest(committed()) == PUBLISHED, "csi.proto changed; on a machine with go the test above names the element"


def test_every_field_of_credentials_is_marked_secret() -> None:
    """Secrets are removed from logs by the option csi_secret, which every field named secrets has, and no other."""
    marked: dict[str, Any] = {}
    for message in csi_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if field.GetOptions().Extensions[csi_pb2.csi_secret] or "secret" in field.name:
                marked[f"{message.name}.{field.name}"] = field.GetOptions().Extensions[csi_pb2.csi_secret]

    assert len(marked) > 15
    assert all(name.endswith(".secrets") and secret for name, secret in marked.items()), marked
