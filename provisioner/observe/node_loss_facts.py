"""The facts about a volume whose node may be lost, from the caches or from the API server."""

import contextlib
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Protocol

from provisioner.binding.lifecycle.node_loss import Loss, last_node
from provisioner.kube.cache import Caches
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json
from provisioner.model.names import LOST_SINCE, POOL_LABEL_PREFIX, RELEASED
from provisioner.model.node import Node
from provisioner.model.stateful_set import StatefulSet
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from provisioner.observe.node_loss_triggers import OF_CLAIM


class Drivers(Protocol):
    """The calls to the drivers."""

    def reporting(self, pool: str) -> Sequence[str]:
        """Return the nodes whose drivers report the pool, even as a copy."""


def blocked_by(claim: Claim | None, caches: Caches) -> str:
    """Return another claim of the same ordinal that waits for a volume that no Node reaches; "" for none."""
    if claim is None:
        return ""
    owners = map(StatefulSet.of, caches[STATEFUL_SET].all(claim.namespace))
    names = (name for each in owners for name in each.beside(claim.name))
    return next((name for name in names if _waits(claim.namespace, name, caches)), "")


def _waits(namespace: str, name: str, caches: Caches) -> bool:
    """Report whether no Node reaches the claim's volume, or its former volume when it has none."""
    claim = caches[CLAIM].get(name, namespace)
    if claim is not None and (bound := Claim.of(claim).volume_name):
        found = caches[VOLUME].get(bound)
        return found is not None and _is_stuck(Volume.of(found), caches)
    former = map(Volume.of, caches[VOLUME].by(OF_CLAIM, f"{namespace}/{name}"))
    return any(_is_stuck(each, caches, former=True) for each in former if RELEASED not in each.annotations)


def _is_stuck(volume: Volume, caches: Caches, *, former: bool = False) -> bool:
    """Report whether no Node reaches the volume, and its class neither releases it nor provisions another."""
    named = caches[STORAGE_CLASS].get(volume.class_name)
    storage_class = StorageClass.of(named) if named is not None else None
    if storage_class is not None and (
        storage_class.releases_on_node_loss or (former and storage_class.adopts == "Never")
    ):
        return False
    return not any(volume.reaches(each["metadata"].get("labels") or {}) for each in caches[NODE].all())


def from_caches(found: Json, caches: Caches, drivers: Drivers) -> Loss:
    """Return the facts from the caches. Raises InvalidObjectError."""
    volume = Volume.of(found)
    label = f"{POOL_LABEL_PREFIX}{volume.pool_uuid}"
    nodes = [
        each
        for each in caches[NODE].all()
        if each["metadata"]["name"] == last_node(volume) or label in (each["metadata"].get("labels") or {})
    ]
    ref = volume.claim_ref
    return _loss(
        volume,
        nodes,
        claim=caches[CLAIM].get(ref.name, ref.namespace) if ref else None,
        storage_class=caches[STORAGE_CLASS].get(volume.class_name),
        sets=caches[STATEFUL_SET].all(ref.namespace) if ref else (),
        drivers=drivers,
    )


async def from_api_server(transport: Transport, name: str, drivers: Drivers) -> tuple[Json, Loss]:
    """Return the facts from the API server, and the PersistentVolume. Raises NotFound for the volume."""
    found = await transport.get(VOLUME, name)
    volume = Volume.of(found)
    claim, storage_class, sets, ref = None, None, [], volume.claim_ref
    if ref is not None:
        with contextlib.suppress(NotFound):
            claim = await transport.get(CLAIM, ref.name, ref.namespace)
        sets = (await transport.list(STATEFUL_SET, namespace=ref.namespace)).items
    with contextlib.suppress(NotFound):
        storage_class = await transport.get(STORAGE_CLASS, volume.class_name)
    nodes = (await transport.list(NODE, label_selector=f"{POOL_LABEL_PREFIX}{volume.pool_uuid}")).items
    if last_node(volume):
        with contextlib.suppress(NotFound):
            nodes.append(await transport.get(NODE, last_node(volume)))
    return found, _loss(volume, nodes, claim=claim, storage_class=storage_class, sets=sets, drivers=drivers)


def _loss(
    volume: Volume,
    nodes: Iterable[Json],
    *,
    claim: Json | None,
    storage_class: Json | None,
    sets: Iterable[Json],
    drivers: Drivers,
) -> Loss:
    ref = volume.claim_ref
    found = Claim.of(claim) if claim else None
    same = found is not None and ref is not None and found.uid == ref.uid
    return Loss(
        volume=volume,
        storage_class=StorageClass.of(storage_class) if storage_class else None,
        nodes=tuple(map(Node.of, nodes)),
        claim=found if same else None,
        successor=found is not None and not same and not found.deleting,
        recreated=ref is not None and any(ref.name in StatefulSet.of(each).claims() for each in sets),
        reported=bool(drivers.reporting(volume.pool_uuid)),
        seconds=_seconds(volume.annotations.get(LOST_SINCE, "")),
    )


def _seconds(since: str) -> float | None:
    """
    Return the seconds since a recorded time; None without one, and for one in the future or without a time zone.

    A time in the future comes from a wrong clock; the wait then starts again.
    """
    try:
        passed = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return None
    return passed if passed >= 0 else None
