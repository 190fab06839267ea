"""What a new engine holds before its user adds anything: the shipped StorageClasses and what describes this node."""

from importlib import resources

import yaml

from provisioner.embedded.node import objects as node_objects
from provisioner.kube.errors import AlreadyExists
from provisioner.kube.transport import Transport
from provisioner.model.kinds import Json, kind_of


def shipped_classes() -> list[Json]:
    """The StorageClasses of `shipped.yaml`."""
    text = resources.files("provisioner.embedded").joinpath("shipped.yaml").read_text(encoding="utf-8")
    return [dict(document) for document in yaml.safe_load_all(text)]


async def seed(transport: Transport, *, node_name: str) -> None:
    """Make what is missing, touch nothing that is there."""
    for each in (*node_objects(node_name), *shipped_classes()):
        kind = kind_of(each["apiVersion"], each["kind"])
        assert kind is not None  # noqa: S101 - all of them are ours
        try:
            await transport.create(kind, each)
        except AlreadyExists:
            continue
