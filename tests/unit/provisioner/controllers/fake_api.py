"""An API server in memory, as far as the storage controllers need it: a fake of the Transport."""

import contextlib
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from provisioner.kube.cache import AnyFollower, Caches, Index
from provisioner.kube.errors import AlreadyExists, Conflict, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Listing, WatchEvent
from provisioner.model.kinds import Json, Kind

ObjectKey = tuple[str, str, str]
Patch = Json | list[Json]
Objects = list[Json]


class FakeApi:
    """Objects by kind, namespace and name; every write sets a new resourceVersion and is recorded in `writes`."""

    def __init__(self, *objects: tuple[Kind, Json]) -> None:
        self.objects: dict[ObjectKey, Json] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.events: list[tuple[str, str, str]] = []
        self._versions = itertools.count(1)
        for kind, obj in objects:
            self.put(kind, obj)

    def put(self, kind: Kind, obj: Json) -> Json:
        """Store an object without recording it in `writes`."""
        stored = copy.deepcopy(obj)
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        metadata.setdefault("uid", f"uid-of-{metadata['name']}")
        self.objects[_key(kind, metadata["name"], metadata.get("namespace", ""))] = stored
        return copy.deepcopy(stored)

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        """Return the object. Raises NotFound."""
        try:
            return copy.deepcopy(self.objects[_key(kind, name, namespace)])
        except KeyError:
            raise NotFound(404, "NotFound", f"{kind.plural} {name!r} not found") from None

    async def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """Return all objects of the kind in the namespace, or those with a label; no other selector is supported."""
        assert "=" not in label_selector
        assert not field_selector.startswith("metadata")
        items = self.all(kind, namespace)
        if label_selector:
            items = [each for each in items if label_selector in (each["metadata"].get("labels") or {})]
        return Listing(items=items, resource_version="0")

    def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Raise, since no test here watches."""
        raise AssertionError((kind, resource_version))

    async def create(self, kind: Kind, obj: Json) -> Json:
        """Create the object. Raises AlreadyExists."""
        metadata = obj["metadata"]
        if _key(kind, metadata["name"], metadata.get("namespace", "")) in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f"{kind.plural} {metadata['name']!r} already exists")
        self.writes.append(("create", kind.plural, metadata["name"]))
        return self.put(kind, obj)

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        """Apply a merge patch or JSON patch, guarded by the resourceVersion in it."""
        before = await self.get(kind, name, namespace)
        changed = _json_patch(before, patch) if isinstance(patch, list) else _merge(before, patch)
        self.writes.append((f"patch {subresource}".strip(), kind.plural, name))
        if "deletionTimestamp" in changed["metadata"] and not changed["metadata"].get("finalizers"):
            del self.objects[_key(kind, name, namespace)]
            return changed
        return self.put(kind, changed)

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        """Delete at once, or set the deletionTimestamp when the object has finalizers."""
        assert not propagation
        found = await self.get(kind, name, namespace)
        if (uid and uid != found["metadata"]["uid"]) or (
            resource_version and resource_version != found["metadata"]["resourceVersion"]
        ):
            raise Conflict(409, "Conflict", "precondition failed")
        self.writes.append(("delete" if grace_seconds is None else f"delete {grace_seconds}", kind.plural, name))
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.put(kind, found)
        else:
            del self.objects[_key(kind, name, namespace)]

    def all(self, kind: Kind, namespace: str = "") -> Objects:
        """Return the kind's objects, ordered by name."""
        keys = sorted(each for each in self.objects if each[0] == kind.plural and namespace in ("", each[1]))
        return [copy.deepcopy(self.objects[each]) for each in keys]

    @property
    def caches(self) -> Caches:
        """Caches that are never stale."""
        return cast("Caches", _Caches(self))

    @property
    def recorder(self) -> Recorder:
        """A recorder that appends (type, reason, message) to `events`."""
        return cast("Recorder", _Recorder(self.events))


class _Caches:
    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self._caches: dict[Kind, _Cache] = {}

    def __getitem__(self, kind: Kind) -> "_Cache":
        return self._caches.setdefault(kind, _Cache(self._api, kind))


class _Cache:
    def __init__(self, api: FakeApi, kind: Kind) -> None:
        self._api, self._kind = api, kind
        self._indexes: dict[str, Index] = {}

    def add_index(self, name: str, index: Index) -> None:
        self._indexes[name] = index

    def by(self, index: str, value: str) -> list[Json]:
        found = []
        for each in self.all():
            with contextlib.suppress(KeyError):  # as the real one does
                found += [each] if value in self._indexes[index](each) else []
        return found

    def get(self, name: str, namespace: str = "") -> Json | None:
        return copy.deepcopy(self._api.objects.get(_key(self._kind, name, namespace)))

    def all(self, namespace: str = "") -> list[Json]:
        return self._api.all(self._kind, namespace)

    def follow(self, create: Callable[[], AnyFollower]) -> AnyFollower:
        """Return a new follower with the present objects at each call."""
        follower = create()
        for obj in self.all():
            follower.put(obj)
        return follower


class _Recorder:
    def __init__(self, events: list[tuple[str, str, str]]) -> None:
        self._events = events

    async def record(self, obj: Json, *, type: str, reason: str, message: str) -> None:  # noqa: A002 - the seam's name
        assert obj["metadata"]["name"]
        self._events.append((type, reason, message))


def _key(kind: Kind, name: str, namespace: str) -> ObjectKey:
    return kind.plural, namespace if kind.namespaced else "", name


def _merge(before: Json, patch: Json) -> Json:
    expected = patch.get("metadata", {}).get("resourceVersion")
    if expected is not None and expected != before["metadata"]["resourceVersion"]:
        raise Conflict(409, "Conflict", "the object has been modified")
    return cast("Json", _merged(before, patch))


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _json_patch(before: Json, patch: list[Json]) -> Json:
    changed = copy.deepcopy(before)
    for operation in patch:
        target, last = _resolve(changed, operation["path"])
        if operation["op"] == "test" and target.get(last) != operation["value"]:
            raise Conflict(409, "Conflict", "a test of the patch failed")
        if operation["op"] in ("add", "replace"):
            target[last] = operation["value"]
        if operation["op"] == "remove":
            del target[last]
    return changed


def _resolve(document: Json, pointer: str) -> tuple[Json, str]:
    parts: Iterator[str] = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    *way, last = parts
    for part in way:
        document = document[part]
    return document, last
