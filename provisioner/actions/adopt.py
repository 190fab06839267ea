"""
A claim's former volume, given back to it.

A volume that still has its PersistentVolume is adopted by one JSON patch, guarded by its resourceVersion; the phase
follows by itself. One whose PersistentVolume is gone is written anew from the driver's manifest, bound to the claim
from the start; one that is in the trash is taken out of it first. One that is too small grows before it is adopted.
"""

from collections.abc import Mapping
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.actions.expand_volume import Expands, grow, write_grown
from provisioner.actions.ownership_labels import annotations_of, history_with
from provisioner.actions.persistent_volume import Backing, build, claim_ref, rewritten
from provisioner.actions.provision import save
from provisioner.kube.errors import Conflict, NotFound
from provisioner.kube.transport import Transport
from provisioner.model import history
from provisioner.model.history import Held, lengthened
from provisioner.model.kinds import CLAIM, NAMESPACE, STATEFUL_SET, VOLUME, Json, Object
from provisioner.model.names import (
    BOUND_BY_CONTROLLER,
    DRIVER,
    HISTORY,
    HOLDER_CLAIM_UID,
    HOLDER_NAMESPACE_UID,
    HOLDER_STATEFUL_SET,
    RELEASED,
)
from provisioner.model.quantity import Quantity

log = structlog.get_logger()

FORMER = "former"
"""Stands for the UID of a claim that is gone and left none."""


class Undeletes(Protocol):
    """What adoption asks of the driver."""

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """Take the volume out of the trash."""


async def confirm(transport: Transport, *, claim: Object, labels: Mapping[str, str], needs_set: bool) -> Json | None:
    """
    Ask the API itself, not a cache, whether the claim may adopt now; the fresh claim, or None when it may not.

    A claim of this name with this UID proves that every older claim of this name is gone, and the UID of its namespace
    that it is no stranger's.
    """
    metadata = claim["metadata"]
    try:
        fresh = await transport.get(CLAIM, metadata["name"], metadata["namespace"])
        home = await transport.get(NAMESPACE, metadata["namespace"])
        if home["metadata"]["uid"] != labels[HOLDER_NAMESPACE_UID]:
            return None
        if needs_set:
            owner = await transport.get(STATEFUL_SET, labels[HOLDER_STATEFUL_SET], metadata["namespace"])
            if "deletionTimestamp" in owner["metadata"]:
                return None
    except (NotFound, KeyError):
        return None
    same = fresh["metadata"]["uid"] == metadata["uid"]
    waiting = not fresh["spec"].get("volumeName") and "deletionTimestamp" not in fresh["metadata"]
    return fresh if same and waiting else None


async def adopt(transport: Transport, *, claim: Object, volume_name: str, labels: Mapping[str, str]) -> None:
    """
    Point the volume's claimRef at the claim. Raises Conflict when the volume is no longer as it was judged.

    The volume is read here, live: whatever happened to it since the decision shows in what it says now.
    """
    volume = await transport.get(VOLUME, volume_name)
    if not still_adoptable(volume, claim):
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    await transport.patch(VOLUME, volume_name, adoption_patch(volume, claim, labels=labels))
    log.info(
        "volume.adopted",
        volume=volume_name,
        namespace=claim["metadata"]["namespace"],
        claim=claim["metadata"]["name"],
        claim_uid=claim["metadata"]["uid"],
    )


async def expand_former(transport: Transport, drivers: Expands, *, claim: Object, volume_name: str) -> None:
    """
    Let the claim's former volume grow to what the claim asks for; once its object says so, it can be adopted.

    Safe to repeat; raises RpcError when the driver refuses, and Conflict when the volume is no longer as it was judged.
    """
    volume = await transport.get(VOLUME, volume_name)
    if not still_adoptable(volume, claim):
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    grown = await grow(drivers, volume, size=requested(claim), before=volume["spec"]["capacity"]["storage"])
    await write_grown(transport, volume, grown)


async def take_back(transport: Transport, *, claim: Object, volume_name: str) -> None:
    """
    Undo an adoption that is not bound yet: the volume names its holder of before again. Raises Conflict.

    The binder writes the volume's phase before it writes the claim, and does so on the volume as it read it. So where
    this patch comes first the binder's write fails, and where it comes second, this one. Source: kubernetes,
    pkg/controller/volume/persistentvolume, pv_controller.go (bind).
    """
    volume = await transport.get(VOLUME, volume_name)
    annotations = volume["metadata"].get("annotations") or {}
    held = history.read(annotations.get(HISTORY, ""))
    ref = volume["spec"].get("claimRef") or {}
    mine = ref.get("uid") == claim["metadata"]["uid"] == (held[-1].claim_uid if held else "")
    if not mine or len(held) < 2 or volume.get("status", {}).get("phase") == "Bound":
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    before = {key: value for key, value in ref.items() if key != "resourceVersion"} | {"uid": held[-2].claim_uid}
    annotations = annotations | {HISTORY: history.write(held[:-1])}
    await transport.patch(VOLUME, volume_name, rewritten(volume, annotations, before))
    log.info("volume.taken_back", volume=volume_name, claim=claim["metadata"]["name"])


def requested(claim: Object) -> Quantity:
    """What the claim asks for."""
    return Quantity.parse(claim["spec"]["resources"]["requests"]["storage"])


def still_adoptable(volume: Object, claim: Object) -> bool:
    """What must hold at the moment of writing: the name on it, its policy, nobody deleting or releasing it."""
    ref = volume["spec"].get("claimRef") or {}
    metadata = claim["metadata"]
    return (
        (ref.get("namespace"), ref.get("name")) == (metadata["namespace"], metadata["name"])
        and ref.get("uid") != metadata["uid"]
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
        and "deletionTimestamp" not in volume["metadata"]
        and RELEASED not in (volume["metadata"].get("annotations") or {})
    )


def adoption_patch(volume: Object, claim: Object, *, labels: Mapping[str, str]) -> list[Json]:
    """
    The JSON patch: whole or not at all, and only on the volume as it was read.

    Without ``bound-by-controller``: with it kube-controller-manager would hand the volume to anybody if the claim
    were bound elsewhere first.
    """
    annotations = volume["metadata"].get("annotations") or {}
    wanted = {key: value for key, value in annotations.items() if key != BOUND_BY_CONTROLLER}
    for key, value in annotations_of(labels).items():
        if value is None:
            wanted.pop(key, None)
        else:
            wanted[key] = value
    wanted[HISTORY] = history_with(labels, before=annotations.get(HISTORY, ""))
    patch = rewritten(volume, wanted, claim_ref(claim))
    attributes_class = claim["spec"].get("volumeAttributesClassName") or ""
    if attributes_class != (volume["spec"].get("volumeAttributesClassName") or ""):
        patch.append({"op": "add", "path": "/spec/volumeAttributesClassName", "value": attributes_class})
    return patch


async def rebuild(
    transport: Transport,
    *,
    manifest: "inventory_pb2.Manifest",
    claim: Object,
    storage_class: Object,
    labels: Mapping[str, str],
) -> str:
    """
    Write the PersistentVolume of a volume that lives only in its pool; its name.

    It is bound to the claim, unless it is too small for it: then it is written as its former claim had it, so that it
    goes the way of a former volume, which is to grow before it is adopted.
    """
    backing = Backing(
        handle=manifest.volume_id,
        capacity_bytes=manifest.capacity_bytes,
        context=dict(manifest.volume_context),
        fs_type=manifest.fs_type,
    )
    volume = build(
        claim,
        storage_class,
        name=manifest.csi_name,
        backing=backing,
        labels=labels,
        identity=DRIVER,
        held=holders_of(manifest),
    )
    if Quantity.of_bytes(manifest.capacity_bytes) < requested(claim):
        volume["spec"]["claimRef"]["uid"] = manifest.holder.labels.get(HOLDER_CLAIM_UID) or FORMER
        del volume["spec"]["claimRef"]["resourceVersion"]
    await save(transport, volume)
    log.info("volume.rebuilt", volume=manifest.csi_name, handle=manifest.volume_id, claim=claim["metadata"]["name"])
    return str(manifest.csi_name)


def holders_of(manifest: "inventory_pb2.Manifest") -> tuple[Held, ...]:
    """Who had the volume, first to last, as its pool knows it."""
    held: tuple[Held, ...] = ()
    for each in (*manifest.ledger, manifest.holder):
        if HOLDER_CLAIM_UID in each.labels:
            held = lengthened(held, Held.of(each.labels, since=each.since.ToJsonString()))
    return held
