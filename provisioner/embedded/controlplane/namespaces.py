"""A namespace that is deleted takes all that is in it along, and goes last."""

from collections.abc import Callable, Iterable, Mapping

from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import KINDS, NAMESPACE, Json, Kind

LOOK_AGAIN_SECONDS = 0.3


class Namespaces:
    """One reconciler: empty it, then let it go."""

    name = "namespaces"
    workers = 1

    def __init__(self, transport: Transport, caches: Caches) -> None:
        self._transport = transport
        self._caches = caches

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """A namespace wakes itself."""
        return {NAMESPACE: lambda namespace: [("", namespace["metadata"]["name"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Delete what is left in a namespace that is being deleted; look again until nothing is."""
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
