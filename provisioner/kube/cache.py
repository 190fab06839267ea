"""What the API server last said, by kind: filled by reflectors, read by reconcilers, never written by them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from provisioner.model.kinds import Json, Kind

Index = Callable[[Json], Iterable[str]]
"""From an object to the values under which it shall be found."""

Keep = Callable[[Json], Json]
"""From an object to the parts of it that anybody looks at."""

Place = tuple[str, str]
"""(namespace, name)"""


class Follower(Protocol):
    """What is kept equal to a cache: told of each change when it is made."""

    def put(self, obj: Json) -> None:
        """The object is new, or changed."""

    def remove(self, place: Place) -> None:
        """The object that stood there is gone."""


AnyFollower = TypeVar("AnyFollower", bound=Follower)


class Cache:
    """Objects of one kind. What it hands out is shared: look, do not touch."""

    def __init__(self, indexes: Mapping[str, Index] | None = None, *, keep: Keep | None = None) -> None:
        """With `keep`, only what that leaves of an object is kept."""
        self._keep = keep
        self._objects: dict[Place, Json] = {}
        self._followers: dict[Callable[[], Any], Any] = {}
        self._indexes = dict(indexes or {})
        self._places: dict[str, defaultdict[str, set[Place]]] = {name: defaultdict(set) for name in self._indexes}

    def get(self, name: str, namespace: str = "") -> Json | None:
        """The object as last seen, or None."""
        return self._objects.get((namespace, name))

    def all(self, namespace: str = "") -> list[Json]:
        """All objects, or those of one namespace."""
        return [obj for place, obj in self._objects.items() if namespace in {"", place[0]}]

    def by(self, index: str, value: str) -> list[Json]:
        """The objects that the index finds under the value."""
        return [self._objects[place] for place in sorted(self._places[index].get(value, ()))]

    def places(self) -> set[Place]:
        """Where there is an object now."""
        return set(self._objects)

    def put(self, obj: Json) -> Json | None:
        """Take an object in; what stood there before."""
        obj = self._keep(obj) if self._keep else obj
        place = place_of(obj)
        before = self._take_out(place)
        self._objects[place] = obj
        for name in self._indexes:
            self._enter(name, place, obj)
        for follower in self._followers.values():
            follower.put(obj)
        return before

    def remove(self, place: Place) -> Json | None:
        """Take an object out; what stood there."""
        before = self._take_out(place)
        for follower in self._followers.values() if before is not None else ():
            follower.remove(place)
        return before

    def follow(self, make: Callable[[], AnyFollower]) -> AnyFollower:
        """What `make` makes, once, kept equal to this cache from then on."""
        if make not in self._followers:
            follower = self._followers[make] = make()
            for obj in self._objects.values():
                follower.put(obj)
        found: AnyFollower = self._followers[make]
        return found

    def _take_out(self, place: Place) -> Json | None:
        before = self._objects.pop(place, None)
        if before is not None:
            for name in self._indexes:
                for value in _values(self._indexes[name], before):
                    entries = self._places[name][value]
                    entries.discard(place)
                    if not entries:
                        del self._places[name][value]
        return before

    def add_index(self, name: str, index: Index) -> None:
        """Find objects under one more name; what is here already is found too."""
        self._indexes[name] = index
        self._places[name] = defaultdict(set)
        for place, obj in self._objects.items():
            self._enter(name, place, obj)

    def _enter(self, name: str, place: Place, obj: Json) -> None:
        for value in _values(self._indexes[name], obj):
            self._places[name][value].add(place)


class Caches:
    """One cache for each kind, made when it is first asked for."""

    def __init__(
        self, indexes: Mapping[Kind, Mapping[str, Index]] | None = None, *, keep: Mapping[Kind, Keep] | None = None
    ) -> None:
        self._indexes = dict(indexes or {})
        self._keep = dict(keep or {})
        self._caches: dict[Kind, Cache] = {}

    def __getitem__(self, kind: Kind) -> Cache:
        if kind not in self._caches:
            self._caches[kind] = Cache(self._indexes.get(kind), keep=self._keep.get(kind))
        return self._caches[kind]


def _values(index: Index, obj: Json) -> frozenset[str]:
    """An object that the index cannot make out is found under no value, and stays in the cache all the same."""
    try:
        return frozenset(index(obj))
    except (KeyError, TypeError, AttributeError, ValueError):
        return frozenset()


def place_of(obj: Json) -> Place:
    """Where an object belongs."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
