"""Reconcile StatefulSets: create and delete their pods and claims in order."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import structlog

from provisioner.embedded.controlplane import identity
from provisioner.embedded.controlplane.plan import (
    AdoptPod,
    Blocked,
    CreateClaim,
    CreatePod,
    DeletePod,
    OwnClaim,
    Step,
    plan,
)
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import AlreadyExists, Invalid, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, POD, STATEFUL_SET, Json, Kind, Object
from provisioner.model.names import REVISION_LABEL
from provisioner.model.pod import controller_uid

log = structlog.get_logger()

BLOCKED_SECONDS = 5.0
"""The resync interval of a blocked set. The deletion of the blocking pod or claim triggers it; this is a fallback."""

STALE_CACHE_SECONDS = 0.5
"""The retry interval when the cache is stale; the watch usually updates it before."""


class StatefulSets:
    """The reconciler of StatefulSets: it plans steps, executes them, and updates the status."""

    name = "statefulset"
    workers = 4

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder) -> None:
        self._transport = transport
        self._caches = caches
        self._recorder = recorder
        self._reported: dict[Key, tuple[str, ...]] = {}

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the set itself, its pods and its claims."""
        return {
            STATEFUL_SET: lambda obj: [(obj["metadata"]["namespace"], obj["metadata"]["name"])],
            POD: self._sets_near,
            CLAIM: self._sets_near,
        }

    def _sets_near(self, obj: Json) -> Iterable[Key]:
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        for each in self._caches[STATEFUL_SET].all(namespace):
            if f"{each['metadata']['name']}-" in name:
                yield namespace, each["metadata"]["name"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Execute the next steps; their changes trigger the set again."""
        namespace, name = key
        stateful_set = self._caches[STATEFUL_SET].get(name, namespace)
        if stateful_set is None:
            self._reported.pop(key, None)
            return Done()
        pods = [
            each for each in self._caches[POD].all(namespace) if identity.ordinal_of(stateful_set, each) is not None
        ]
        claims = {each["metadata"]["name"]: each for each in self._caches[CLAIM].all(namespace)}
        ready, ages = _available(stateful_set, pods)
        steps = plan(stateful_set, pods=pods, claims=claims, available=ready)
        stale = False
        for step in steps:
            stale = await self._execute(stateful_set, step) or stale
        blocked = tuple(each.message for each in steps if isinstance(each, Blocked))
        await self._report_blocked(key, stateful_set, blocked)
        await self._write_status(stateful_set, pods, ready)
        waits = [
            (STALE_CACHE_SECONDS, "the cache does not have the latest objects yet", stale),
            (BLOCKED_SECONDS, "another object has to be deleted first", bool(blocked)),
            (ages, "a pod is not ready for minReadySeconds yet", ages > 0),
        ]
        if due := [(seconds, why) for seconds, why, needed in waits if needed]:
            return RequeueAfter(*min(due))
        return Done()

    async def _report_blocked(self, key: Key, stateful_set: Json, blocked: tuple[str, ...]) -> None:
        """Record an Event for each message that was not reported before."""
        reported, self._reported[key] = self._reported.get(key, ()), blocked
        for message in blocked:
            if message not in reported:
                await self._recorder.record(stateful_set, type="Warning", reason="FailedCreate", message=message)

    async def _execute(self, stateful_set: Json, step: Step) -> bool:
        """Execute one step; report whether the cache was stale."""
        try:
            await self._act(stateful_set, step)
        except (AlreadyExists, NotFound):
            return True
        except Invalid as error:
            message = f"create in StatefulSet {stateful_set['metadata']['name']} failed: {error.message}"
            await self._recorder.record(stateful_set, type="Warning", reason="FailedCreate", message=message)
            raise
        return False

    async def _act(self, stateful_set: Json, step: Step) -> None:
        if isinstance(step, CreateClaim):
            with contextlib.suppress(AlreadyExists):
                await self._transport.create(CLAIM, step.claim)
                log.info("claim.created", claim=f"{step.claim['metadata']['namespace']}/{_name(step.claim)}")
        elif isinstance(step, CreatePod):
            await self._transport.create(POD, step.pod)
            message = f"create Pod {_name(step.pod)} in StatefulSet {_name(stateful_set)} successful"
            await self._recorder.record(stateful_set, type="Normal", reason="SuccessfulCreate", message=message)
        elif isinstance(step, DeletePod):
            metadata = step.pod["metadata"]
            await self._transport.delete(POD, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])
            message = f"delete Pod {_name(step.pod)} in StatefulSet {_name(stateful_set)} successful"
            await self._recorder.record(stateful_set, type="Normal", reason="SuccessfulDelete", message=message)
        elif isinstance(step, OwnClaim):
            await self._set_owners(CLAIM, step.claim, step.owners)
        elif isinstance(step, AdoptPod):
            owners = [*(step.pod["metadata"].get("ownerReferences") or [])]
            await self._set_owners(POD, step.pod, [*owners, identity.owner_reference(STATEFUL_SET, stateful_set)])

    async def _set_owners(self, kind: Kind, obj: Object, owners: list[Json]) -> None:
        metadata = obj["metadata"]
        change = {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners or None}
        await self._transport.patch(kind, metadata["name"], {"metadata": change}, namespace=metadata["namespace"])

    async def _write_status(self, stateful_set: Json, pods: list[Json], ready: frozenset[str]) -> None:
        """Write the status when it changed."""
        metadata, before = stateful_set["metadata"], stateful_set.get("status") or {}
        owned = [pod for pod in pods if controller_uid(pod) == metadata["uid"]]
        revision = identity.revision_of(stateful_set)
        updated = [pod for pod in owned if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == revision]
        current = before.get("currentRevision") or revision
        if len(updated) == len(owned):
            current = revision
        now_ready = len([pod for pod in owned if _ready_since(pod)])
        status = {
            "observedGeneration": metadata.get("generation", 1),
            "replicas": len(owned),
            "readyReplicas": now_ready,
            "availableReplicas": len([pod for pod in owned if _name(pod) in ready]),
            "currentReplicas": len(owned) if current == revision else len(owned) - len(updated),
            "updatedReplicas": len(updated),
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        if any(before.get(key) != value for key, value in status.items()):
            with contextlib.suppress(NotFound):
                await self._transport.patch(
                    STATEFUL_SET,
                    metadata["name"],
                    {"metadata": {"uid": metadata["uid"]}, "status": status},
                    namespace=metadata["namespace"],
                    subresource="status",
                )


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _ready_since(pod: Object) -> str:
    """Return when the pod became ready; "" while it is not, or is being deleted."""
    if "deletionTimestamp" in pod["metadata"]:
        return ""
    conditions = pod.get("status", {}).get("conditions") or []
    ready: Json = next((each for each in conditions if each.get("type") == "Ready"), {})
    return str(ready.get("lastTransitionTime") or "-") if ready.get("status") == "True" else ""


def _available(stateful_set: Object, pods: list[Json]) -> tuple[frozenset[str], float]:
    """Return the names of pods ready for minReadySeconds, and the seconds until the next one is (0: none)."""
    least = stateful_set["spec"].get("minReadySeconds") or 0
    now = datetime.now(UTC)
    found: set[str] = set()
    waits: list[float] = []
    for pod in pods:
        since = _ready_since(pod)
        if not since:
            continue
        age = least if since == "-" else (now - datetime.fromisoformat(since)).total_seconds()
        if age >= least:
            found.add(_name(pod))
        else:
            waits.append(least - age)
    return frozenset(found), min(waits, default=0.0)
