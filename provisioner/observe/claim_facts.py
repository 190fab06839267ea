"""All that is known about one claim, from the caches and from the driver: what `provisioner.binding` decides on."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from csi.v1 import inventory_pb2
from provisioner.binding.facts import Facts
from provisioner.binding.snapshot import Snapshot
from provisioner.kube.cache import Caches
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import (
    ATTRIBUTES_CLASS,
    NAMESPACE,
    STORAGE_CLASS,
    Kind,
    Object,
)
from provisioner.model.names import HOLDER_CLAIM, HOLDER_NAMESPACE
from provisioner.model.storage_class import StorageClass
from provisioner.observe.cluster_uid import cluster_uid
from provisioner.observe.live_views import claims_in, nodes_in, pods_in, stateful_sets_in
from provisioner.observe.volume_index import volumes_in

log = structlog.get_logger()

View = TypeVar("View")

FEW = 4
"""Claims of one pod that the drivers are asked about one by one: that is less than all of a large namespace."""


class Inventory(Protocol):
    """What the driver knows about volumes and their holders."""

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """The volumes whose holder has these labels."""

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """The deleted ones, not yet purged."""


async def gather(claim: Claim, caches: Caches, inventory: Inventory) -> Facts:
    """
    The facts about a claim, and about the other claims of its pod.

    The driver is asked only about claims whose class adopts: no other decision hangs on its answer. It is asked a
    few times at most, however many claims the pod has. Raises RpcError.
    """
    observed = observe(caches, claim.namespace)
    siblings = observed.siblings(claim)
    asked = [each.name for each in (claim, *siblings) if not each.volume_name and observed.adopts(each)]
    held = await held_before(inventory, namespace=claim.namespace, claims=asked)
    return observed.facts(claim, held=held, siblings=siblings)


def without_inventory(claim: Claim, caches: Caches) -> Facts:
    """The facts that the caches alone tell, while a driver does not answer."""
    return observe(caches, claim.namespace).facts(claim, held={})


def observe(caches: Caches, namespace: str) -> Snapshot:
    """What the caches say around the claims of a namespace."""

    def one(kind: Kind, view: Callable[[Object], View]) -> Callable[[str], View | None]:
        # unbounded: it lives as long as one decision
        @functools.cache  # claims of one pod name the same class
        def find(name: str) -> View | None:
            found = caches[kind].get(name) if name else None
            return next(iter(readable([found] if found else [], view)), None)

        return find

    home = caches[NAMESPACE].get(namespace)
    return Snapshot(
        volumes=volumes_in(caches),
        nodes=tuple(nodes_in(caches).all()),
        namespace_uid=str(home["metadata"]["uid"]) if home else "",
        cluster_uid=cluster_uid(caches),
        stateful_sets=tuple(stateful_sets_in(caches).all(namespace)),
        pods=tuple(pods_in(caches).all(namespace)),
        claim=functools.partial(claims_in(caches).get, namespace=namespace),
        storage_class=one(STORAGE_CLASS, StorageClass.of),
        attributes_class=one(ATTRIBUTES_CLASS, AttributesClass.of),
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


async def held_before(
    inventory: Inventory, *, namespace: str, claims: Sequence[str]
) -> dict[str, tuple[Manifest, ...]]:
    """
    By claim, the manifests, in the trash or not, whose last holder had its name in a namespace of this name.

    Up to `FEW` claims are asked for one by one, more of them by their namespace, at once.
    """
    home = {HOLDER_NAMESPACE: namespace}
    questions = [home | {HOLDER_CLAIM: each} for each in claims] if len(claims) <= FEW else [home]
    found: dict[str, list[Manifest]] = {name: [] for name in claims}
    for labels in questions:
        living = [view(each, in_trash=False) for each in await inventory.list_manifests(labels)]
        trashed = [view(each.manifest, in_trash=True) for each in await inventory.list_trash(labels)]
        for each in (*living, *trashed):
            if (name := each.holder.get(HOLDER_CLAIM, "")) in found:
                found[name].append(each)
    return {name: tuple(manifests) for name, manifests in found.items()}


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
        stored_bytes=manifest.stored_bytes if manifest.HasField("stored_bytes") else None,
    )


def view_of_trash(entry: "inventory_pb2.TrashEntry") -> Manifest:
    """Return the same for an entry of the trash."""
    found = view(entry.manifest, in_trash=True)
    return dataclasses.replace(
        found,
        stored_bytes=entry.stored_bytes,
        deleted=entry.deleted.seconds,
        purge_after=entry.purge_after.seconds,
    )
