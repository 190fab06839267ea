"""
Let a claim adopt its former volume.

A volume with a PersistentVolume is adopted by one JSON patch, guarded by its resourceVersion; the binder then updates
its phase. For a volume without one, the PersistentVolume is created from the driver's manifest, bound to the claim from
the start; a volume in the trash is restored first. A volume that is too small is expanded before it is adopted.
"""

from collections.abc import Mapping
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.actions.expand_volume import Expands, expand, write_expanded
from provisioner.actions.ownership_labels import annotations_of, history_with
from provisioner.actions.persistent_volume import Backing, build, claim_ref, rewritten
from provisioner.actions.provision import save
from provisioner.kube.errors import Conflict, NotFound
from provisioner.kube.transport import Transport
from provisioner.model import history
from provisioner.model.history import Owner, lengthened
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
"""The claimRef UID for a deleted claim whose UID is unknown."""


class Undeletes(Protocol):
    """The calls to the driver that adoption needs."""

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """Restore the volume from the trash."""


async def confirm(transport: Transport, *, claim: Object, labels: Mapping[str, str], needs_set: bool) -> Json | None:
    """
    Return the claim as the API server has it, if it may adopt now; None when it may not.

    A claim of this name with this UID proves that every older claim of this name was deleted. The UID of its namespace
    proves that the namespace was not recreated.
    """
    metadata = claim["metadata"]
    try:
        fresh = await transport.get(CLAIM, metadata["name"], metadata["namespace"])
        namespace = await transport.get(NAMESPACE, metadata["namespace"])
        if namespace["metadata"]["uid"] != labels[HOLDER_NAMESPACE_UID]:
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
    Point the volume's claimRef at the claim. Raises Conflict when the volume has changed since the decision.

    The volume is read from the API server here, so that changes since the decision are seen.
    """
    volume = await transport.get(VOLUME, volume_name)
    if not still_adoptable(volume, claim):
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    await transport.patch(VOLUME, volume_name, adoption_patch(volume, claim, labels=labels))
    log.info(
        "volume.adopted",
        volume=volume_name,
        claim=_key(claim),
        claim_uid=claim["metadata"]["uid"],
    )


async def expand_former(transport: Transport, drivers: Expands, *, claim: Object, volume_name: str) -> None:
    """
    Expand the claim's former volume to the requested size; it can be adopted once its PersistentVolume has that size.

    It is idempotent. Raises RpcError when the driver refuses, and Conflict when the volume has changed since the
    decision.
    """
    volume = await transport.get(VOLUME, volume_name)
    if not still_adoptable(volume, claim):
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    expanded = await expand(drivers, volume, size=requested(claim), before=volume["spec"]["capacity"]["storage"])
    await write_expanded(transport, volume, expanded)


async def revert_adoption(transport: Transport, *, claim: Object, volume_name: str) -> None:
    """
    Revert an adoption before the claim is bound: the claimRef gets the former owner's UID again. Raises Conflict.

    The binder writes the volume's phase before it writes the claim, guarded by the resourceVersion. So if this patch is
    applied first, the binder's write fails with a conflict; otherwise this patch fails. Source: kubernetes,
    pkg/controller/volume/persistentvolume, pv_controller.go (bind).
    """
    volume = await transport.get(VOLUME, volume_name)
    annotations = volume["metadata"].get("annotations") or {}
    owners = history.read(annotations.get(HISTORY, ""))
    ref = volume["spec"].get("claimRef") or {}
    is_adopted = ref.get("uid") == claim["metadata"]["uid"] == (owners[-1].claim_uid if owners else "")
    if not is_adopted or len(owners) < 2 or volume.get("status", {}).get("phase") == "Bound":
        raise Conflict(409, "Conflict", f"volume {volume_name} changed meanwhile")
    before = {key: value for key, value in ref.items() if key != "resourceVersion"} | {"uid": owners[-2].claim_uid}
    annotations = annotations | {HISTORY: history.write(owners[:-1])}
    await transport.patch(VOLUME, volume_name, rewritten(volume, annotations, before))
    log.info("volume.adoption_reverted", volume=volume_name, claim=_key(claim))


def _key(claim: Object) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def requested(claim: Object) -> Quantity:
    """Return the requested bytes."""
    return Quantity.parse(claim["spec"]["resources"]["requests"]["storage"])


def still_adoptable(volume: Object, claim: Object) -> bool:
    """Report whether the volume can be adopted now: its claimRef, reclaim policy, deletion and release allow it."""
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
    Return the JSON patch, which applies only to the volume as it was read.

    It removes ``bound-by-controller``: with it, kube-controller-manager would make the volume available to any claim if
    this claim were bound to another volume first.
    """
    annotations = volume["metadata"].get("annotations") or {}
    desired = {key: value for key, value in annotations.items() if key != BOUND_BY_CONTROLLER}
    for key, value in annotations_of(labels).items():
        if value is None:
            desired.pop(key, None)
        else:
            desired[key] = value
    desired[HISTORY] = history_with(labels, before=annotations.get(HISTORY, ""))
    patch = rewritten(volume, desired, claim_ref(claim))
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
    Create the PersistentVolume of a volume that has none; return its name.

    Its claimRef names the claim, unless the volume is too small: then it names the former claim, so that the volume is
    expanded before it is adopted.
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
        owners=owners_of(manifest),
    )
    if Quantity.of_bytes(manifest.capacity_bytes) < requested(claim):
        volume["spec"]["claimRef"]["uid"] = manifest.holder.labels.get(HOLDER_CLAIM_UID) or FORMER
        del volume["spec"]["claimRef"]["resourceVersion"]
    await save(transport, volume)
    log.info("volume.rebuilt", volume=manifest.csi_name, handle=manifest.volume_id, claim=_key(claim))
    return str(manifest.csi_name)


def owners_of(manifest: "inventory_pb2.Manifest") -> tuple[Owner, ...]:
    """Return the owners of the volume in its manifest, first to last."""
    owners: tuple[Owner, ...] = ()
    for each in (*manifest.ledger, manifest.holder):
        if HOLDER_CLAIM_UID in each.labels:
            owners = lengthened(owners, Owner.of(each.labels, since=each.since.ToJsonString()))
    return owners
