"""Our csi.proto and the published CSI 1.13 are one interface: every name, number, type, label, option and method."""

import hashlib
import subprocess
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from csi.v1 import csi_pb2
from tests.conftest import ROOT
from tests.unit.proto import wire_facts

PUBLISHED = "964b3f8ce56bc72e59803c8ba83a3e131108ed22970921ff67d1177f0c8de322"
"""SHA-256 of the facts of spec v1.13.0, so that a change is seen where there is no Go to fetch the real thing."""


def ours() -> wire_facts.Facts:
    """The facts of our own file, as the committed stubs hold them."""
    file = descriptor_pb2.FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return wire_facts.of(file)


def digest(facts: wire_facts.Facts) -> str:
    """Of all facts."""
    return hashlib.sha256(wire_facts.render(facts).encode()).hexdigest()


@pytest.fixture(scope="session")
def published() -> wire_facts.Facts:
    """The facts of the interface that the Go module of CSI was generated from."""
    built = subprocess.run([str(ROOT / "hack" / "go-tool"), "descriptor"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    shown = subprocess.run([built.stdout.strip()], capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return wire_facts.of(descriptor_pb2.FileDescriptorProto.FromString(shown.stdout))


@pytest.mark.needs("go")
def test_every_element_is_the_one_of_the_published_interface(published: wire_facts.Facts) -> None:
    """Nothing is missing, nothing is added, nothing differs."""
    services = {name for name in published if name.startswith("service ")}

    assert services == {
        f"service {name}" for name in ("Identity", "Controller", "GroupController", "SnapshotMetadata", "Node")
    }
    assert len(published) > 500
    assert wire_facts.differences(published, ours()) == {}


@pytest.mark.needs("go")
def test_the_recorded_digest_is_the_published_one(published: wire_facts.Facts) -> None:
    """The digest below which a machine without Go checks our file was taken from the published interface."""
    assert digest(published) == PUBLISHED


def test_our_file_has_the_recorded_digest() -> None:
    """A machine without Go sees as well that our file is no longer the published interface."""
    assert digest(ours()) == PUBLISHED, "csi.proto changed; on a machine with go the test above names the element"


def test_every_field_of_credentials_is_marked_secret() -> None:
    """What strips secrets from logs goes by the option csi_secret, so every field named secrets has it, and no other."""
    marked: dict[str, Any] = {}
    for message in csi_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if field.GetOptions().Extensions[csi_pb2.csi_secret] or "secret" in field.name:
                marked[f"{message.name}.{field.name}"] = field.GetOptions().Extensions[csi_pb2.csi_secret]

    assert len(marked) > 15
    assert all(name.endswith(".secrets") and secret for name, secret in marked.items()), marked
