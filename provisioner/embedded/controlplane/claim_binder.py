"""
The claim part of the engine's binder: it runs the persistentvolume controller's state machine of claims.

In a cluster kube-controller-manager does this. `binding.matching.pv_controller` decides the writes; they are executed
here: the volume before the claim, each guarded by the resourceVersion that the decision was based on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.reschedule import reschedule
from provisioner.binding.adoption.adopt import adopt as former_volume
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.pv_controller import ClaimStep, claim_step
from provisioner.drivers.client import DriverUnavailable
from provisioner.embedded.controlplane.bind_writes import reserve, set_phase
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.errors import Conflict
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, NODE, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PRE_RESIZE_CAPACITY,
    STORAGE_PROVISIONER,
    STORAGE_PROVISIONER_BETA,
)
from provisioner.model.node import Node
from provisioner.model.storage_class import StorageClass, default_class
from provisioner.model.volume import Volume
from provisioner.observe.claim_facts import Inventory, gather, readable
from provisioner.observe.triggers import claim_key
from provisioner.observe.volume_index import volumes_in

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5
FORMER_SECONDS = 15.0


class Driver(Inventory, Protocol):
    """The driver calls that the binder needs to find a claim's former volume."""


class ClaimBinder:
    """The reconciler of the state machine of claims."""

    name = "claim-binder"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Driver) -> None:
        self._transport = transport
        self._caches = caches
        self._announcer = EventDeduplicator(recorder)
        self._drivers = drivers

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: a claim, its volume, and for all pending claims free volumes, classes and lost nodes."""
        return {
            CLAIM: lambda claim: [claim_key(claim)],
            VOLUME: self._of_volume,
            STORAGE_CLASS: lambda _: self._pending(),
            NODE: lambda node: [] if self._caches[NODE].get(node["metadata"]["name"]) else self._pending(),
        }

    def _of_volume(self, volume: Json) -> Iterable[Key]:
        ref = volume["spec"].get("claimRef") or {}
        named = volume["metadata"]["name"]
        keys = {claim_key(claim) for claim in self._caches[CLAIM].all() if claim["spec"].get("volumeName") == named}
        return keys | ({(ref["namespace"], ref["name"])} if ref.get("name") else set(self._pending()))

    def _pending(self) -> list[Key]:
        return [claim_key(claim) for claim in self._caches[CLAIM].all() if not claim["spec"].get("volumeName")]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one claim: one step of the state machine."""
        found = self._caches[CLAIM].get(key[1], key[0])
        if found is None:
            return Done()
        try:
            claim = Claim.of(found)
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        if self._selected_node_missing(claim):
            await self._reschedule(found, claim)
            return Done()
        volumes = volumes_in(self._caches)
        classes = readable(self._caches[STORAGE_CLASS].all(), StorageClass.of)
        storage_class = next((each for each in classes if each.name == claim.class_name), None)
        step = claim_step(claim, volumes=volumes, storage_class=storage_class, default_class=default_class(classes))
        step = self._on_selected_node(step, claim, volumes)
        if _comes_after_former(step, claim) and storage_class is not None and storage_class.is_managed:
            try:
                if former_volume(await gather(claim, self._caches, self._drivers)) is not None:
                    return RequeueAfter(
                        FORMER_SECONDS, "the claim has a former volume, which is preferred to all others"
                    )
            except DriverUnavailable as error:
                return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, error.message)
        await self._write(found, claim, step)
        return Done()

    def _selected_node_missing(self, claim: Claim) -> bool:
        """Report whether the claim waits for a volume on a node that does not exist."""
        waits = not claim.volume_name and not claim.deleting
        return bool(claim.selected_node) and waits and self._caches[NODE].get(claim.selected_node) is None

    async def _reschedule(self, found: Json, claim: Claim) -> None:
        """
        Remove the selected node, so that the scheduler selects another one when a pod mounts the claim.

        Source: sig-storage-lib-external-provisioner, controller (the selected node is not found).
        """
        message = f"the selected node {claim.selected_node} does not exist; another one is selected for the claim's pod"
        await self._announcer.report(found, warning=True, reason="SelectedNodeNotFound", message=message)
        await reschedule(self._transport, found, why=message)

    def _on_selected_node(self, step: ClaimStep, claim: Claim, volumes: Index) -> ClaimStep:
        """Bind an existing volume on the node before a new one is created, as kube-scheduler does in a cluster."""
        if step.rule != "U4" or step.provisioner == "" or not claim.selected_node:
            return step
        node = self._caches[NODE].get(claim.selected_node)
        found = volumes.match(claim, node=Node.of(node)) if node else None
        return ClaimStep("U1", "Bound", bind_to=found) if found else step

    async def _write(self, found: Json, claim: Claim, step: ClaimStep) -> None:
        if step.bind_to is not None:
            await self._bind(found, claim, step.bind_to)
            return
        if step.event is not None:
            event = step.event
            await self._announcer.report(
                found, warning=event.type == "Warning", reason=event.reason, message=event.message
            )
        if step.set_class:
            await self._patch_claim(found, {"spec": {"storageClassName": step.set_class}})
        elif step.provisioner and claim.storage_provisioner != step.provisioner:
            annotations = dict.fromkeys((STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA), step.provisioner)
            await self._patch_claim(found, {"metadata": {"annotations": annotations}})
        elif step.phase and step.phase != claim.phase:
            status = {
                "phase": step.phase,
                "accessModes": None,
                "capacity": None,
                "currentVolumeAttributesClassName": None,
            }
            await self._patch_claim(found, {"status": status}, subresource="status")

    async def _bind(self, found: Json, claim: Claim, volume: Volume) -> None:
        """Execute the four writes of a bind, skipping those that would change nothing; the first failure ends it."""
        current = self._caches[VOLUME].get(volume.name)
        if current is None or current["metadata"]["resourceVersion"] != volume.resource_version:
            raise Conflict(409, "Conflict", f"volume {volume.name} changed after the decision to bind it")
        current = await reserve(self._transport, current, found, reserved=volume.belongs_to(claim))
        await set_phase(self._transport, current, "Bound")
        annotations = {BIND_COMPLETED: "yes"}
        if claim.volume_name != volume.name:
            annotations[BOUND_BY_CONTROLLER] = "yes"
        if claim.volume_name != volume.name or not claim.bind_completed:
            patch: Json = {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name}}
            found = await self._patch_claim(found, patch)
        if claim.phase != "Bound":
            status = {
                "phase": "Bound",
                "accessModes": current["spec"]["accessModes"],
                "capacity": {"storage": usable_capacity(current)},
                "currentVolumeAttributesClassName": current["spec"].get("volumeAttributesClassName"),
            }
            await self._patch_claim(found, {"status": status}, subresource="status")
            log.info("claim.bound", claim=f"{claim.namespace}/{claim.name}", volume=volume.name)

    async def _patch_claim(self, found: Json, patch: Json, *, subresource: str = "") -> Json:
        metadata = found["metadata"]
        guarded = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": metadata["resourceVersion"]}}
        return await self._transport.patch(
            CLAIM, metadata["name"], guarded, namespace=metadata["namespace"], subresource=subresource
        )


def usable_capacity(volume: Json) -> str:
    """
    Return the capacity of a claim bound to the volume: the previous one until the filesystem is expanded.

    Source: kubernetes, pkg/controller/volume/persistentvolume, updateClaimStatus.
    """
    before = (volume["metadata"].get("annotations") or {}).get(PRE_RESIZE_CAPACITY)
    return str(before or volume["spec"]["capacity"]["storage"])


def _comes_after_former(step: ClaimStep, claim: Claim) -> bool:
    """Report whether the step may only be taken for a claim without a former volume."""
    if step.bind_to is not None:
        return step.rule == "U1" and not step.bind_to.belongs_to(claim)
    return step.rule in ("U3", "U4")
