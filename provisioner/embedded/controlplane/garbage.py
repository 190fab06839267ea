"""
The garbage collector: delete objects whose owners were deleted, and finish foreground and orphan deletions.

Source: kubernetes, pkg/controller/garbagecollector.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog

from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, POD, SERVICE, STATEFUL_SET, Json, Kind, Object, kind_of

log = structlog.get_logger()

OWNED: tuple[Kind, ...] = (POD, CLAIM, STATEFUL_SET, SERVICE)
"""The kinds whose objects may have owners or dependents."""

OWNERS = "owners"
"""The index of objects by the UIDs of their owners."""

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Garbage:
    """The reconciler of owner references; a key is (namespace, "plural/name")."""

    name = "garbage"
    workers = 2

    def __init__(self, transport: Transport, caches: Caches) -> None:
        self._transport = transport
        self._caches = caches
        for kind in OWNED:
            caches[kind].add_index(OWNERS, _owner_uids)

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the object itself, its dependents and its owners."""
        return {kind: self._keys_for(kind) for kind in OWNED}

    def _keys_for(self, kind: Kind) -> Callable[[Json], Iterable[Key]]:
        def keys(obj: Json) -> Iterable[Key]:
            namespace = obj["metadata"]["namespace"]
            yield namespace, f"{kind.plural}/{obj['metadata']['name']}"
            for other, dependent in self._dependents(obj):
                yield namespace, f"{other.plural}/{dependent['metadata']['name']}"
            for reference in obj["metadata"].get("ownerReferences") or []:
                owner = kind_of(reference["apiVersion"], reference["kind"])
                if owner in OWNED:
                    yield namespace, f"{owner.plural}/{reference['name']}"

        return keys

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """
        Delete the object if all its owners were deleted; finish its own deletion if that waits for its dependents.

        While one owner exists the object stays, and its references to deleted owners are removed.
        """
        namespace, resource = key
        plural, _, name = resource.partition("/")
        kind = next(each for each in OWNED if each.plural == plural)
        obj = self._caches[kind].get(name, namespace)
        if obj is None:
            return Done()
        if "deletionTimestamp" in obj["metadata"]:
            return await self._finish(kind, obj)
        references = obj["metadata"].get("ownerReferences") or []
        if not references:
            return Done()
        owners = [await self._owner(reference, namespace) for reference in references]
        remaining = [
            reference
            for reference, owner in zip(references, owners, strict=True)
            if owner and not _in_foreground(owner)
        ]
        if not any(owners):
            await self._delete(kind, obj, propagation="Background")
        elif not remaining:
            await self._delete(kind, obj, propagation="Foreground" if self._dependents(obj) else "Background")
        elif len(remaining) < len(references):
            # An owner in foreground deletion must not wait for an object that has another owner.
            await self._patch(kind, obj, {"ownerReferences": remaining})
        return Done()

    async def _owner(self, reference: Json, namespace: str) -> Json | None:
        """Return the owner, from the API server where the cache does not have it; None when it does not exist."""
        kind = kind_of(reference["apiVersion"], reference["kind"])
        if kind is None:
            return {"metadata": {}}  # an owner of an unknown kind is assumed to exist
        where = namespace if kind.namespaced else ""
        found = self._caches[kind].get(reference["name"], where) if kind in OWNED else None
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            try:
                found = await self._transport.get(kind, reference["name"], where)
            except NotFound:
                return None
        return found if found["metadata"]["uid"] == reference["uid"] else None

    async def _delete(self, kind: Kind, obj: Json, *, propagation: str) -> None:
        """Delete the object, unless it has changed since the decision, for example by a new owner reference."""
        metadata = obj["metadata"]
        try:
            await self._transport.delete(
                kind,
                metadata["name"],
                namespace=metadata["namespace"],
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                propagation=propagation,
            )
            log.info("garbage.deleted", kind=kind.plural, namespace=metadata["namespace"], name=metadata["name"])
        except NotFound:
            return

    async def _finish(self, kind: Kind, obj: Json) -> Done:
        """Finish a deletion that orphans its dependents, or waits until they are deleted."""
        finalizers = obj["metadata"].get("finalizers") or []
        dependents = self._dependents(obj)
        if ORPHAN in finalizers:
            for other, each in dependents:
                references = each["metadata"].get("ownerReferences") or []
                remaining = [reference for reference in references if reference["uid"] != obj["metadata"]["uid"]]
                await self._patch(other, each, {"ownerReferences": remaining or None})
            await self._remove_finalizer(kind, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            blocking = [
                each
                for _, each in dependents
                for reference in each["metadata"]["ownerReferences"]
                if reference["uid"] == obj["metadata"]["uid"] and reference.get("blockOwnerDeletion")
            ]
            if not blocking:
                await self._remove_finalizer(kind, obj, FOREGROUND)
        return Done()

    async def _remove_finalizer(self, kind: Kind, obj: Json, finalizer: str) -> None:
        remaining = [each for each in obj["metadata"]["finalizers"] if each != finalizer]
        await self._patch(kind, obj, {"finalizers": remaining or None})

    async def _patch(self, kind: Kind, obj: Json, change: Json) -> None:
        metadata = obj["metadata"]
        guarded = {"resourceVersion": metadata["resourceVersion"], **change}
        try:
            await self._transport.patch(kind, metadata["name"], {"metadata": guarded}, namespace=metadata["namespace"])
        except NotFound:
            return

    def _dependents(self, owner: Object) -> list[tuple[Kind, Json]]:
        """Return the objects of the same namespace that name this one as an owner."""
        uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
        return [
            (kind, obj)
            for kind in OWNED
            for obj in self._caches[kind].by(OWNERS, uid)
            if obj["metadata"]["namespace"] == namespace
        ]


def _owner_uids(obj: Json) -> list[str]:
    return [each["uid"] for each in obj["metadata"].get("ownerReferences") or []]


def _in_foreground(owner: Json) -> bool:
    metadata = owner["metadata"]
    return "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or [])
