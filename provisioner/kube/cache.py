"""Caches of API objects by kind: filled by reflectors, read by reconcilers, which never write to them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from provisioner.model.kinds import Json, Kind

Index = Callable[[Json], Iterable[str]]
"""A function from an object to the values under which the index finds it."""

Transform = Callable[[Json], Json]
"""A function from an object to the parts of it that are cached."""

NamespacedName = tuple[str, str]
"""(namespace, name)"""


class Follower(Protocol):
    """A view of a cache that is updated with each of its changes."""

    def put(self, obj: Json) -> None:
        """Add an object, or replace its earlier version."""

    def remove(self, key: NamespacedName) -> None:
        """Remove the object of this name."""


AnyFollower = TypeVar("AnyFollower", bound=Follower)


class Cache:
    """Objects of one kind. Returned objects are shared with other readers; do not mutate them."""

    def __init__(self, indexes: Mapping[str, Index] | None = None, *, transform: Transform | None = None) -> None:
        """With `transform`, cache only the parts of an object that it returns."""
        self._transform = transform
        self._objects: dict[NamespacedName, Json] = {}
        self._followers: dict[Callable[[], Any], Any] = {}
        self._indexes = dict(indexes or {})
        self._keys: dict[str, defaultdict[str, set[NamespacedName]]] = {
            name: defaultdict(set) for name in self._indexes
        }

    def get(self, name: str, namespace: str = "") -> Json | None:
        """Return the object as last observed, or None."""
        return self._objects.get((namespace, name))

    def all(self, namespace: str = "") -> list[Json]:
        """Return all objects, or those of one namespace."""
        return [obj for key, obj in self._objects.items() if namespace in {"", key[0]}]

    def by(self, index: str, value: str) -> list[Json]:
        """Return the objects that the index finds under the value, sorted by name."""
        return [self._objects[key] for key in sorted(self._keys[index].get(value, ()))]

    def names(self) -> set[NamespacedName]:
        """Return the names of all cached objects."""
        return set(self._objects)

    def put(self, obj: Json) -> Json | None:
        """Add or replace an object; return its earlier version, or None."""
        obj = self._transform(obj) if self._transform else obj
        key = namespaced_name(obj)
        before = self._pop(key)
        self._objects[key] = obj
        for name in self._indexes:
            self._add_to_index(name, key, obj)
        for follower in self._followers.values():
            follower.put(obj)
        return before

    def remove(self, key: NamespacedName) -> Json | None:
        """Remove an object; return its last version, or None."""
        before = self._pop(key)
        for follower in self._followers.values() if before is not None else ():
            follower.remove(key)
        return before

    def follow(self, factory: Callable[[], AnyFollower]) -> AnyFollower:
        """Return the follower that `factory` creates, updated with the cache; later calls return the same one."""
        if factory not in self._followers:
            follower = self._followers[factory] = factory()
            for obj in self._objects.values():
                follower.put(obj)
        found: AnyFollower = self._followers[factory]
        return found

    def _pop(self, key: NamespacedName) -> Json | None:
        before = self._objects.pop(key, None)
        if before is not None:
            for name in self._indexes:
                for value in _values(self._indexes[name], before):
                    entries = self._keys[name][value]
                    entries.discard(key)
                    if not entries:
                        del self._keys[name][value]
        return before

    def add_index(self, name: str, index: Index) -> None:
        """Add an index, which also finds the objects that are cached already."""
        self._indexes[name] = index
        self._keys[name] = defaultdict(set)
        for key, obj in self._objects.items():
            self._add_to_index(name, key, obj)

    def _add_to_index(self, name: str, key: NamespacedName, obj: Json) -> None:
        for value in _values(self._indexes[name], obj):
            self._keys[name][value].add(key)


class Caches:
    """One cache for each kind, created on first use."""

    def __init__(
        self,
        indexes: Mapping[Kind, Mapping[str, Index]] | None = None,
        *,
        transform: Mapping[Kind, Transform] | None = None,
    ) -> None:
        self._indexes = dict(indexes or {})
        self._transform = dict(transform or {})
        self._caches: dict[Kind, Cache] = {}

    def __getitem__(self, kind: Kind) -> Cache:
        if kind not in self._caches:
            self._caches[kind] = Cache(self._indexes.get(kind), transform=self._transform.get(kind))
        return self._caches[kind]


def _values(index: Index, obj: Json) -> frozenset[str]:
    """Return the values of an object. An object that the index cannot read has none, and stays in the cache."""
    try:
        return frozenset(index(obj))
    except (KeyError, TypeError, AttributeError, ValueError):
        return frozenset()


def namespaced_name(obj: Json) -> NamespacedName:
    """Return (namespace, name) of an object; the namespace is "" for a cluster-scoped one."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
