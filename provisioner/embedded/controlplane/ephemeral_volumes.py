"""
Reconcile generic ephemeral volumes: create a claim for each, owned by its pod, so that it is deleted with the pod.

Source: KEP-1698; kubernetes, pkg/controller/volume/ephemeral.
"""

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.embedded.controlplane.identity import owner_reference
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, TerminalError
from provisioner.kube.errors import AlreadyExists, Invalid, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, POD, Json, Kind, Object
from provisioner.model.pod import ClaimVolume, claims_of

log = structlog.get_logger()


class EphemeralVolumes:
    """Reconcile one pod: create the claims of its ephemeral volumes."""

    name = "ephemeral-volumes"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder) -> None:
        self._transport = transport
        self._caches = caches
        self._announcer = EventDeduplicator(recorder)

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the pod itself, and the claims of its ephemeral volumes."""
        return {POD: lambda pod: [(pod["metadata"]["namespace"], pod["metadata"]["name"])], CLAIM: self._of_claim}

    def _of_claim(self, claim: Json) -> Iterable[Key]:
        namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
        for pod in self._caches[POD].all(namespace):
            if any(each.ephemeral and each.claim == name for each in claims_of(pod)):
                yield namespace, pod["metadata"]["name"]

    async def reconcile(self, key: Key) -> Done:
        """
        Create what is missing, and record an Event where the claim of that name is not the pod's.

        Raises TerminalError for a template that the API refuses.
        """
        namespace, name = key
        pod = self._caches[POD].get(name, namespace)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return Done()
        for mount in (each for each in claims_of(pod) if each.ephemeral):
            found = await self._live(mount.claim, namespace)
            if found is None:
                await self._create(pod, mount)
            elif refusal := mount.refusal(pod, found):
                await self._report(pod, refusal)
        return Done()

    async def _live(self, claim: str, namespace: str) -> Json | None:
        """Return the claim, from the API server where the cache does not have it."""
        cached = self._caches[CLAIM].get(claim, namespace)
        if cached is not None:
            return cached
        with contextlib.suppress(NotFound):
            return await self._transport.get(CLAIM, claim, namespace)
        return None

    async def _create(self, pod: Json, mount: ClaimVolume) -> None:
        try:
            with contextlib.suppress(AlreadyExists):  # the existing claim is checked when the cache has it
                await self._transport.create(CLAIM, claim_for(pod, mount))
                log.info("claim.created", claim=f"{pod['metadata']['namespace']}/{mount.claim}")
        except Invalid as error:
            message = f"the claim of the ephemeral volume {mount.name} cannot be created: {error.message}"
            await self._report(pod, message)
            raise TerminalError(message) from error

    async def _report(self, pod: Json, message: str) -> None:
        await self._announcer.report(pod, warning=True, reason="FailedBinding", message=message)


def claim_for(pod: Object, mount: ClaimVolume) -> Json:
    """Return the claim of one ephemeral volume of the pod, named after both and owned by the pod."""
    source = next(each["ephemeral"] for each in pod["spec"]["volumes"] if each["name"] == mount.name)
    template = source.get("volumeClaimTemplate") or {}
    metadata = template.get("metadata") or {}
    copied = {key: dict(metadata[key]) for key in ("labels", "annotations") if metadata.get(key)}
    return {
        "metadata": {
            "name": mount.claim,
            "namespace": pod["metadata"]["namespace"],
            "ownerReferences": [owner_reference(POD, pod)],
            **copied,
        },
        "spec": copy.deepcopy(template.get("spec") or {}),
    }
