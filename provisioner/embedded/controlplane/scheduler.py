"""
The scheduler for the engine's one node: it selects the node for waiting claims, and schedules a pod when all are bound.

Source of the rules: kubernetes, pkg/scheduler/framework/plugins/volumebinding.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.embedded.controlplane.node_fit import GATED, misfit
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NODE, POD, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import SELECTED_NODE
from provisioner.model.node import Node
from provisioner.model.pod import claims_of
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

log = structlog.get_logger()


UNSCHEDULABLE = "Unschedulable"
REPORT_AFTER_SECONDS = 5.0
"""The age in seconds from which a pod that waits for its volumes gets a condition and an Event."""


class Scheduler:
    """The reconciler of pods without a node."""

    name = "scheduler"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder) -> None:
        self._transport = transport
        self._caches = caches
        self._recorder = recorder

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the pod itself, and claims, volumes, classes and nodes for waiting pods."""
        return {
            POD: lambda pod: [(pod["metadata"]["namespace"], pod["metadata"]["name"])],
            CLAIM: lambda claim: self._waiting(claim["metadata"]["namespace"]),
            VOLUME: lambda _: self._waiting(),
            STORAGE_CLASS: lambda _: self._waiting(),
            NODE: lambda _: self._waiting(),
        }

    def _waiting(self, namespace: str = "") -> Iterable[Key]:
        for pod in self._caches[POD].all(namespace):
            if not pod["spec"].get("nodeName"):
                yield pod["metadata"]["namespace"], pod["metadata"]["name"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Schedule the pod, or report why it cannot be scheduled."""
        namespace, name = key
        obj = self._caches[POD].get(name, namespace)
        if obj is None or obj["spec"].get("nodeName") or "deletionTimestamp" in obj["metadata"]:
            return Done()
        mounts = claims_of(obj)
        ready = next((each for each in self._caches[NODE].all() if Node.of(each).ready), None)
        if ready is None:
            await self._report_unschedulable(obj, "0/1 nodes are available: the node is not ready.")
            return Done()
        found = {each.claim: self._caches[CLAIM].get(each.claim, namespace) for each in mounts}
        if refusals := [refusal for each in mounts if (refusal := each.refusal(obj, found[each.claim]))]:
            await self._report_unschedulable(obj, refusals[0])
            return Done()
        if problem := misfit(obj, ready):
            await self._report_unschedulable(
                obj, problem, reason="SchedulingGated" if problem == GATED else UNSCHEDULABLE
            )
            return Done()
        node = Node.of(ready)
        claims = [Claim.of(each) for each in found.values() if each is not None]
        problem = await self._select_nodes(claims, node)
        if problem:
            await self._report_unschedulable(obj, problem)
        elif all(claim.bind_completed for claim in claims):
            await self._transport.patch(
                POD, name, {"target": {"kind": "Node", "name": node.name}}, namespace=namespace, subresource="binding"
            )
            message = f"Successfully assigned {namespace}/{name} to {node.name}"
            await self._recorder.record(obj, type="Normal", reason="Scheduled", message=message)
            log.info("pod.scheduled", namespace=namespace, pod=name, node=node.name)
        else:
            return await self._report_waiting(obj, [claim.name for claim in claims if not claim.bind_completed])
        return Done()

    async def _report_waiting(self, pod: Json, claims: list[str]) -> Done | RequeueAfter:
        """Report that the pod waits for the volumes of these claims, once it is older than REPORT_AFTER_SECONDS."""
        created = dt.datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        left = REPORT_AFTER_SECONDS - (dt.datetime.now(dt.UTC) - created).total_seconds()
        if left > 0:
            return RequeueAfter(left, "its volumes are being created")
        await self._report_unschedulable(
            pod, f"0/1 nodes are available: waiting for the volume of {', '.join(map(repr, claims))}."
        )
        return Done()

    async def _select_nodes(self, claims: list[Claim], node: Node) -> str:
        """Write the selected node to waiting claims; return why the pod cannot be scheduled, or ""."""
        for claim in claims:
            if claim.deleting:
                return f'persistentvolumeclaim "{claim.name}" is being deleted'
            if claim.phase == "Lost":
                return (
                    f'persistentvolumeclaim "{claim.name}" bound to non-existent persistentvolume "{claim.volume_name}"'
                )
            if claim.bind_completed:
                volume = self._caches[VOLUME].get(claim.volume_name)
                if volume is None:
                    return f'pv "{claim.volume_name}" not found'
                if not Volume.of(volume).reaches(node.labels):
                    return "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
            elif not self._waits_for_consumer(claim) or claim.volume_name:
                return "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        for claim in claims:
            if not claim.bind_completed and not claim.selected_node:
                await self._select(claim, node)
        return ""

    def _waits_for_consumer(self, claim: Claim) -> bool:
        found = self._caches[STORAGE_CLASS].get(claim.class_name)
        return found is not None and StorageClass.of(found).waits_for_consumer

    async def _select(self, claim: Claim, node: Node) -> None:
        """Write the selected node, guarded by the resourceVersion."""
        metadata = {"resourceVersion": claim.resource_version, "annotations": {SELECTED_NODE: node.name}}
        await self._transport.patch(CLAIM, claim.name, {"metadata": metadata}, namespace=claim.namespace)
        log.info("claim.node_selected", claim=f"{claim.namespace}/{claim.name}", node=node.name)

    async def _report_unschedulable(self, pod: Json, message: str, *, reason: str = UNSCHEDULABLE) -> None:
        """Write the message to the pod's condition and record an Event, once per message."""
        conditions = pod.get("status", {}).get("conditions") or []
        current: Json = next((each for each in conditions if each["type"] == "PodScheduled"), {})
        if current.get("message") == message:
            return
        others = [each for each in conditions if each["type"] != "PodScheduled"]
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        metadata = pod["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {"conditions": [*others, condition]},
        }
        await self._transport.patch(POD, metadata["name"], patch, namespace=metadata["namespace"], subresource="status")
        await self._recorder.record(pod, type="Warning", reason="FailedScheduling", message=message)
