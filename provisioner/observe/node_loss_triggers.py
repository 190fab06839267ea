"""Map a changed node, claim, set or class to the volumes to reconcile for node loss, by indexes."""

from collections.abc import Callable, Iterable, Mapping

from provisioner.kube.cache import Cache
from provisioner.kube.control import Key
from provisioner.model.kinds import CLAIM, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import LAST_NODE
from provisioner.model.stateful_set import StatefulSet
from provisioner.observe.triggers import OF_POOL, claim_key, claim_of_volume, pools_of_node, pools_of_volume

OF_NODE, OF_CLAIM, OF_CLASS = "last node", "claim", "class"
"""The indexes; volumes without a handle, an annotation and so on are not in them."""


class NodeLossTriggers:
    """The volumes of a cache, indexed by the objects that may change their outcome."""

    def __init__(self, volumes: Cache) -> None:
        self._volumes = volumes
        volumes.add_index(OF_POOL, pools_of_volume)
        volumes.add_index(OF_NODE, lambda volume: [volume["metadata"]["annotations"][LAST_NODE].partition("/")[0]])
        volumes.add_index(OF_CLAIM, lambda volume: ["/".join(key) for key in claim_of_volume(volume)])
        volumes.add_index(OF_CLASS, lambda volume: [volume["spec"]["storageClassName"]])

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the volume itself, its node, claims of its claim's name, their set, and its class."""
        return {
            VOLUME: lambda volume: [("", volume["metadata"]["name"])],
            NODE: self._of_node,
            CLAIM: lambda claim: self._found(OF_CLAIM, "/".join(claim_key(claim))),
            STATEFUL_SET: self._of_set,
            STORAGE_CLASS: lambda storage_class: self._found(OF_CLASS, storage_class["metadata"]["name"]),
        }

    def _of_node(self, node: Json) -> Iterable[Key]:
        """Return the volumes of the pools that a node has by its labels, or had by the annotations of volumes."""
        yield from self._found(OF_NODE, node["metadata"]["name"])
        for uuid in pools_of_node(node):
            yield from self._found(OF_POOL, uuid)

    def _of_set(self, obj: Json) -> Iterable[Key]:
        owner = StatefulSet.of(obj)
        for name in owner.claims():
            yield from self._found(OF_CLAIM, f"{owner.namespace}/{name}")

    def _found(self, index: str, value: str) -> list[Key]:
        return [("", volume["metadata"]["name"]) for volume in self._volumes.by(index, value)]
