"""Reconcile namespaces that are being deleted: delete their objects first."""

from collections.abc import Callable, Iterable, Mapping

from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import KINDS, NAMESPACE, Json, Kind

LOOK_AGAIN_SECONDS = 0.3


class Namespaces:
    """The reconciler of namespaces that are being deleted."""

    name = "namespaces"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches) -> None:
        self._transport = transport
        self._caches = caches

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the trigger: the namespace itself."""
        return {NAMESPACE: lambda namespace: [("", namespace["metadata"]["name"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Delete the objects of a namespace that is being deleted, until there are none; then finish its deletion."""
        name = key[1]
        namespace = self._caches[NAMESPACE].get(name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return Done()
        left = 0
        for kind in (each for each in KINDS if each.namespaced):
            for obj in (await self._transport.list(kind, namespace=name)).items:
                left += 1
                if "deletionTimestamp" not in obj["metadata"]:
                    try:
                        await self._transport.delete(kind, obj["metadata"]["name"], namespace=name)
                    except NotFound:
                        left -= 1
        if left:
            return RequeueAfter(LOOK_AGAIN_SECONDS, f"{left} objects are still in it")
        try:
            await self._transport.patch(NAMESPACE, name, {"spec": {"finalizers": None}}, subresource="finalize")
        except NotFound:
            return Done()
        return Done()
