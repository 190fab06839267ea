"""Create the objects of a new engine: the shipped StorageClasses, and those that describe this node."""

import contextlib
from importlib import resources

import structlog
import yaml

from provisioner.embedded.kubelet.node_object import objects as node_objects
from provisioner.kube.errors import AlreadyExists, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CSI_NODE, NODE, Json, kind_of
from provisioner.model.names import NODE_TOPOLOGY

log = structlog.get_logger()


def shipped_classes() -> list[Json]:
    """Return the StorageClasses of `shipped.yaml`."""
    # unbounded: a file of this package
    text = resources.files("provisioner.embedded").joinpath("shipped.yaml").read_text(encoding="utf-8")
    return [dict(document) for document in yaml.safe_load_all(text)]


async def bootstrap(transport: Transport, *, node_name: str) -> None:
    """
    Create the missing objects, and delete the Node that this machine had under a former name.

    Other existing objects are not changed.
    """
    await _remove_former_nodes(transport, node_name)
    for each in (*node_objects(node_name), *shipped_classes()):
        kind = kind_of(each["apiVersion"], each["kind"])
        assert kind is not None  # noqa: S101 - all of them are known kinds
        try:
            await transport.create(kind, each)
        except AlreadyExists:
            continue


async def _remove_former_nodes(transport: Transport, node_name: str) -> None:
    """
    Delete the Node and CSINode objects that the engine created for this machine under another name.

    The engine has one node. Its kubelet deletes the pods of the former Node, which does not exist any more.
    """
    for each in (await transport.list(NODE)).items:
        metadata = each["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        if name == node_name or labels.get(NODE_TOPOLOGY) != name:
            continue
        for kind in (CSI_NODE, NODE):
            with contextlib.suppress(NotFound):
                await transport.delete(kind, name)
        log.info("node.removed", node=name, instead=node_name)
