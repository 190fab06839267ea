"""
Who holds a volume, written where it outlives the API server: PV annotations first, then the driver's manifest.

Each bound volume of ours is told to the driver once per life of this process; the driver ignores what it knows.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from provisioner.controllers.holding import annotations_of, cluster_uid, holder_labels
from provisioner.controllers.release import ours
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, NAMESPACE, STATEFUL_SET, VOLUME, Json, Kind
from provisioner.model.stateful_set import StatefulSet
from provisioner.router import DriverAway

log = structlog.get_logger()

DRIVER_AWAY_SECONDS = 0.5


class Records(Protocol):
    """What this reconciler asks of the driver."""

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        """Write the holder into the manifest."""


class Holders:
    """One reconciler: the recorded holder of a bound volume."""

    name = "holders"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, *, router: Records) -> None:
        self._transport = transport
        self._caches = caches
        self._router = router
        self._acknowledged: dict[str, Mapping[str, str]] = {}

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """A volume wakes itself, its claim wakes it, and so does a set that the claim turns out to be an ordinal of."""
        return {
            VOLUME: lambda volume: [("", volume["metadata"]["name"])],
            CLAIM: lambda claim: [("", claim["spec"]["volumeName"])] if claim["spec"].get("volumeName") else (),
            STATEFUL_SET: self._of_set,
        }

    def _of_set(self, stateful_set: Json) -> Iterable[Key]:
        namespace, owner = stateful_set["metadata"]["namespace"], StatefulSet.of(stateful_set)
        for claim in self._caches[CLAIM].all(namespace):
            if claim["spec"].get("volumeName") and owner.ordinal_of(claim["metadata"]["name"]):
                yield "", claim["spec"]["volumeName"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Write the holder where it is not written yet."""
        volume = self._caches[VOLUME].get(key[1])
        if volume is None:
            self._acknowledged.pop(key[1], None)
            return Done()
        ref = volume["spec"].get("claimRef") or {}
        if not ours(volume) or volume.get("status", {}).get("phase") != "Bound" or not ref.get("uid"):
            return Done()
        claim = self._caches[CLAIM].get(ref["name"], ref["namespace"])
        namespace = self._caches[NAMESPACE].get(ref["namespace"])
        if claim is None or namespace is None or claim["metadata"]["uid"] != ref["uid"]:
            return Done()
        labels = holder_labels(
            claim,
            namespace_uid=namespace["metadata"]["uid"],
            cluster_uid=cluster_uid(self._caches),
            sets=self._caches[STATEFUL_SET].all(ref["namespace"]),
            before=volume["metadata"].get("annotations") or {},
            policy=volume["spec"].get("persistentVolumeReclaimPolicy", "Retain"),
        )
        wanted = annotations_of(labels)
        if any((volume["metadata"].get("annotations") or {}).get(name) != value for name, value in wanted.items()):
            patch = {
                "metadata": {"resourceVersion": volume["metadata"]["resourceVersion"], "annotations": wanted},
            }
            await self._transport.patch(VOLUME, key[1], patch)
            return Done()  # the changed volume wakes this key again
        if self._acknowledged.get(key[1]) != labels:
            try:
                await self._router.record_holder(volume["spec"]["csi"]["volumeHandle"], labels)
            except DriverAway as error:
                return RequeueAfter(DRIVER_AWAY_SECONDS, error.message)
            self._acknowledged[key[1]] = labels
            log.info("holder.recorded", volume=key[1], namespace=ref["namespace"], claim=ref["name"])
        return Done()
