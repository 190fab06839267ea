"""The facts about one claim, from the caches and the driver, on which `provisioner.binding` decides."""

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
from provisioner.model.errors import InvalidObjectError
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
"""The number of claims of one pod for which the drivers are queried one by one, and not by namespace."""


class Inventory(Protocol):
    """The driver's manifests."""

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.Manifest]":
        """Return the volumes whose owner record has these labels."""

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> "list[inventory_pb2.TrashEntry]":
        """Return the deleted volumes that are not purged yet."""


async def gather(claim: Claim, caches: Caches, inventory: Inventory) -> Facts:
    """
    Return the facts about a claim, and about the other claims of its pod.

    The driver is queried only for claims whose class adopts, since no other decision depends on its answer, and a few
    times at most, however many claims the pod has. Raises RpcError.
    """
    observed = observe(caches, claim.namespace)
    siblings = observed.siblings(claim)
    adopting = [each.name for each in (claim, *siblings) if not each.volume_name and observed.adopts(each)]
    manifests = await former_manifests(inventory, namespace=claim.namespace, claims=adopting)
    return observed.facts(claim, manifests=manifests, siblings=siblings)


def without_inventory(claim: Claim, caches: Caches) -> Facts:
    """Return the facts from the caches alone, while a driver is unavailable."""
    return observe(caches, claim.namespace).facts(claim, manifests={})


def observe(caches: Caches, namespace: str) -> Snapshot:
    """Return the snapshot of a namespace from the caches."""

    def one(kind: Kind, view: Callable[[Object], View]) -> Callable[[str], View | None]:
        # unbounded: it exists for one decision only
        @functools.cache  # claims of one pod often name the same class
        def find(name: str) -> View | None:
            found = caches[kind].get(name) if name else None
            return next(iter(readable([found] if found else [], view)), None)

        return find

    namespace_object = caches[NAMESPACE].get(namespace)
    return Snapshot(
        volumes=volumes_in(caches),
        nodes=tuple(nodes_in(caches).all()),
        namespace_uid=str(namespace_object["metadata"]["uid"]) if namespace_object else "",
        cluster_uid=cluster_uid(caches),
        stateful_sets=tuple(stateful_sets_in(caches).all(namespace)),
        pods=tuple(pods_in(caches).all(namespace)),
        claim=functools.partial(claims_in(caches).get, namespace=namespace),
        storage_class=one(STORAGE_CLASS, StorageClass.of),
        attributes_class=one(ATTRIBUTES_CLASS, AttributesClass.of),
    )


def readable(objects: Iterable[Object], view: Callable[[Object], View]) -> list[View]:
    """Return the views of the valid objects: one invalid object must not block every claim."""
    found = []
    for each in objects:
        try:
            found.append(view(each))
        except InvalidObjectError as error:
            log.warning("object.unreadable", error=str(error))
    return found


async def former_manifests(
    inventory: Inventory, *, namespace: str, claims: Sequence[str]
) -> dict[str, tuple[Manifest, ...]]:
    """
    Return claim → the manifests, also in the trash, whose last owner had its name in a namespace of this name.

    Up to `FEW` claims are queried one by one, more of them by their namespace in one query.
    """
    in_namespace = {HOLDER_NAMESPACE: namespace}
    queries = [in_namespace | {HOLDER_CLAIM: each} for each in claims] if len(claims) <= FEW else [in_namespace]
    found: dict[str, list[Manifest]] = {name: [] for name in claims}
    for labels in queries:
        volumes = [view(each, in_trash=False) for each in await inventory.list_manifests(labels)]
        trashed = [view(each.manifest, in_trash=True) for each in await inventory.list_trash(labels)]
        for each in (*volumes, *trashed):
            if (name := each.holder.get(HOLDER_CLAIM, "")) in found:
                found[name].append(each)
    return {name: tuple(manifests) for name, manifests in found.items()}


def view(manifest: "inventory_pb2.Manifest", *, in_trash: bool) -> Manifest:
    """Return the driver's message as a model value."""
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
