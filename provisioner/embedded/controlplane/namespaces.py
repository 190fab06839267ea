"""Reconcile namespaces that are being deleted: delete their objects, then finalize the namespace."""

from collections.abc import Callable, Iterable, Mapping

from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import KINDS, NAMESPACE, Json, Kind

POLL_SECONDS = 0.3


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
        """Delete the objects of a namespace that is being deleted; when there are none, finalize the namespace."""
        name = key[1]
        namespace = self._caches[NAMESPACE].get(name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return Done()
        remaining = 0
        for kind in (each for each in KINDS if each.namespaced):
            for obj in (await self._transport.list(kind, namespace=name)).items:
                remaining += 1
                if "deletionTimestamp" not in obj["metadata"]:
                    try:
                        await self._transport.delete(kind, obj["metadata"]["name"], namespace=name)
                    except NotFound:
                        remaining -= 1
        if remaining:
            return RequeueAfter(POLL_SECONDS, f"the namespace still has {remaining} objects")
        try:
            await self._transport.patch(NAMESPACE, name, {"spec": {"finalizers": None}}, subresource="finalize")
        except NotFound:
            return Done()
        return Done()
