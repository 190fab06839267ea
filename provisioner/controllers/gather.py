"""All that is known about one claim, from the caches and from the driver: what `provisioner.binding` decides on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import structlog

from csi.v1 import inventory_pb2
from provisioner.binding.facts import Facts, Sibling
from provisioner.controllers.holding import cluster_uid
from provisioner.kube.cache import Caches
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import (
    ATTRIBUTES_CLASS,
    CLAIM,
    NAMESPACE,
    NODE,
    POD,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
    Object,
)
from provisioner.model.names import HOLDER_CLAIM, HOLDER_NAMESPACE
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import StatefulSet
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

log = structlog.get_logger()

View = TypeVar("View")


class Inventory(Protocol):
    """What the driver knows about volumes and their holders."""

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """The volumes whose holder has these labels."""

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """The deleted ones, not yet purged."""


async def gather(claim: Claim, caches: Caches, inventory: Inventory) -> Facts:
    """
    The facts about a claim.

    The driver is asked only when the class adopts: no other decision hangs on its answer. Raises RpcError.
    """
    named = caches[STORAGE_CLASS].get(claim.class_name) if claim.class_name else None
    storage_class = StorageClass.of(named) if named else None
    attributes = caches[ATTRIBUTES_CLASS].get(claim.attributes_class) if claim.attributes_class else None
    namespace = caches[NAMESPACE].get(claim.namespace)
    namespace_uid = str(namespace["metadata"]["uid"]) if namespace else ""
    manifests: tuple[Manifest, ...] = ()
    if storage_class is not None and storage_class.adopts != "Never" and namespace_uid:
        manifests = await held_before(inventory, namespace=claim.namespace, claim=claim.name)
    pods = [each for each in readable(caches[POD].all(claim.namespace), Pod.of) if claim.name in each.claims.values()]
    return Facts(
        claim=claim,
        volumes=tuple(readable(caches[VOLUME].all(), Volume.of)),
        storage_class=storage_class,
        attributes_class=AttributesClass.of(attributes) if attributes else None,
        namespace_uid=namespace_uid,
        stateful_sets=tuple(readable(caches[STATEFUL_SET].all(claim.namespace), StatefulSet.of)),
        manifests=manifests,
        nodes=tuple(readable(caches[NODE].all(), Node.of)),
        pods=tuple(pods),
        siblings=tuple(_siblings(claim, pods, caches)),
        cluster_uid=cluster_uid(caches),
    )


def _siblings(claim: Claim, pods: Iterable[Pod], caches: Caches) -> Iterable[Sibling]:
    """The other claims of the pods that mount the claim."""
    names = {name for pod in pods if not pod.deleting for name in pod.claims.values()} - {claim.name}
    found = [caches[CLAIM].get(name, claim.namespace) for name in sorted(names)]
    for sibling in readable((each for each in found if each is not None), Claim.of):
        named = caches[STORAGE_CLASS].get(sibling.class_name) if sibling.class_name else None
        yield Sibling(
            sibling, adopts=any(each.adopts != "Never" for each in readable([named] if named else [], StorageClass.of))
        )


def readable(objects: Iterable[Object], view: Callable[[Object], View]) -> list[View]:
    """The views of those that can be understood: one odd object must not hold up every claim."""
    found = []
    for each in objects:
        try:
            found.append(view(each))
        except InvalidObject as error:
            log.warning("object.unreadable", problem=str(error))
    return found


async def held_before(inventory: Inventory, *, namespace: str, claim: str) -> tuple[Manifest, ...]:
    """The manifests, in the trash or not, whose last holder was a claim of this name in a namespace of this name."""
    labels = {HOLDER_NAMESPACE: namespace, HOLDER_CLAIM: claim}
    living = [view(each, in_trash=False) for each in await inventory.list_manifests(labels)]
    trashed = [view(each.manifest, in_trash=True) for each in await inventory.list_trash(labels)]
    return (*living, *trashed)


def view(manifest: "inventory_pb2.Manifest", *, in_trash: bool) -> Manifest:
    """The driver's message as the brain's plain value."""
    return Manifest(
        handle=manifest.volume_id,
        csi_name=manifest.csi_name,
        capacity_bytes=manifest.capacity_bytes,
        backend=manifest.backend,
        access_type=manifest.access_type,
        holder=dict(manifest.holder.labels),
        since=manifest.holder.since.ToJsonString() if manifest.holder.HasField("since") else "",
        in_trash=in_trash,
        ready=manifest.state != "creating",
    )
