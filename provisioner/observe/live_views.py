"""
The model's views of cached objects, each built once for every version of its object.

A decision about one claim of a pod reads all its siblings. Building their views each time would take most of the time
for a pod with a hundred claims.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import structlog

from provisioner.kube.cache import Caches, NamespacedName, namespaced_name
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, NODE, POD, STATEFUL_SET, Json, Kind, Object
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import StatefulSet

log = structlog.get_logger()

View = TypeVar("View")


class LiveViews(Generic[View]):
    """Follows the cache of one kind. An invalid object has no view, and is logged once."""

    def __init__(self, read: Callable[[Object], View]) -> None:
        self._read = read
        self._objects: dict[str, dict[str, Json]] = {}
        self._views: dict[NamespacedName, View | None] = {}

    def put(self, obj: Json) -> None:
        """Add or update an object; its view is built when it is needed."""
        namespace, name = key = namespaced_name(obj)
        self._views.pop(key, None)
        self._objects.setdefault(namespace, {})[name] = obj

    def remove(self, key: NamespacedName) -> None:
        """Remove a deleted object."""
        namespace, name = key
        self._views.pop(key, None)
        objects = self._objects.get(namespace, {})
        objects.pop(name, None)
        if not objects:
            self._objects.pop(namespace, None)

    def get(self, name: str, namespace: str = "") -> View | None:
        """Return the view of one object; None when it does not exist or is invalid."""
        key = (namespace, name)
        if key not in self._views:
            obj = self._objects.get(namespace, {}).get(name)
            if obj is None:
                return None
            self._views[key] = self._view_of(obj)
        return self._views[key]

    def all(self, namespace: str = "") -> list[View]:
        """Return the views of the objects of a namespace ("" for cluster-scoped kinds), in order of arrival."""
        found = (self.get(name, namespace) for name in self._objects.get(namespace, {}))
        return [each for each in found if each is not None]

    def _view_of(self, obj: Json) -> View | None:
        try:
            return self._read(obj)
        except InvalidObjectError as error:
            log.warning("object.unreadable", error=str(error))
            return None


_READERS: Final[dict[Kind, Callable[[], LiveViews[Any]]]] = {
    CLAIM: functools.partial(LiveViews[Claim], Claim.of),
    NODE: functools.partial(LiveViews[Node], Node.of),
    POD: functools.partial(LiveViews[Pod], Pod.of),
    STATEFUL_SET: functools.partial(LiveViews[StatefulSet], StatefulSet.of),
}
"""Return the views of a kind, which all callers share."""


def claims_in(caches: Caches) -> LiveViews[Claim]:
    """Return the views of claims, which follow the caches, as do the others below."""
    return caches[CLAIM].follow(_READERS[CLAIM])


def nodes_in(caches: Caches) -> LiveViews[Node]:
    """Return the views of nodes."""
    return caches[NODE].follow(_READERS[NODE])


def pods_in(caches: Caches) -> LiveViews[Pod]:
    """Return the views of pods."""
    return caches[POD].follow(_READERS[POD])


def stateful_sets_in(caches: Caches) -> LiveViews[StatefulSet]:
    """Return the views of StatefulSets."""
    return caches[STATEFUL_SET].follow(_READERS[STATEFUL_SET])
