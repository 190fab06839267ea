"""
Protect claims in use and bound volumes from deletion, by finalizers.

Source: kubernetes, pkg/controller/volume/pvcprotection and pvprotection. The finalizers are set at admission.
"""

from collections.abc import Callable, Iterable, Mapping

from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, POD, VOLUME, Json, Kind
from provisioner.model.names import CLAIM_PROTECTION, VOLUME_PROTECTION
from provisioner.model.pod import Pod


class Protection:
    """The reconciler of claims and volumes; a key without a namespace names a volume."""

    name = "protection"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches) -> None:
        self._transport = transport
        self._caches = caches

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: claims and volumes themselves, and the pods that name a claim."""
        return {
            CLAIM: lambda claim: [(claim["metadata"]["namespace"], claim["metadata"]["name"])],
            VOLUME: lambda volume: [("", volume["metadata"]["name"])],
            POD: lambda pod: [(pod["metadata"]["namespace"], claim) for claim in Pod.of(pod).claims.values()],
        }

    async def reconcile(self, key: Key) -> Done:
        """Remove the finalizer of an object that is being deleted and is not in use."""
        namespace, name = key
        kind, finalizer = (CLAIM, CLAIM_PROTECTION) if namespace else (VOLUME, VOLUME_PROTECTION)
        obj = self._caches[kind].get(name, namespace)
        if obj is None or "deletionTimestamp" not in obj["metadata"]:
            return Done()
        finalizers = obj["metadata"].get("finalizers") or []
        if finalizer in finalizers and not await self._in_use(kind, obj):
            remaining = [each for each in finalizers if each != finalizer]
            change = {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": remaining or None}
            try:
                await self._transport.patch(kind, name, {"metadata": change}, namespace=namespace)
            except NotFound:
                return Done()
        return Done()

    async def _in_use(self, kind: Kind, obj: Json) -> bool:
        """
        Report whether the volume is bound, or a pod uses the claim.

        Pods are also read from the API server, since the cache may not have a new pod yet.
        """
        if kind is VOLUME:
            return bool(obj.get("status", {}).get("phase") == "Bound")
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if any(_uses(pod, name) for pod in self._caches[POD].all(namespace)):
            return True
        live = await self._transport.list(POD, namespace=namespace)
        return any(_uses(pod, name) for pod in live.items)


def _uses(pod: Json, claim: str) -> bool:
    """Report whether the pod may have the claim mounted: it was scheduled, and may have ended since."""
    view = Pod.of(pod)
    return bool(view.node_name) and claim in view.claims.values()
