"""
How the values of each field merge: as one whole, field by field, key by key, or entry by entry.

Source: the markers listType, listMapKey, mapType and structType on the types of k8s.io/api, which Kubernetes 1.37
publishes as x-kubernetes-list-type, x-kubernetes-list-map-keys and x-kubernetes-map-type. A list without a marker is
one whole, a map without one is granular.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from provisioner.embedded.apiserver.store import schema
from provisioner.embedded.apiserver.store.schema import Shape
from provisioner.model.kinds import Json, Kind

Word = Literal["leaf", "struct", "map", "set", "keyed"]


@dataclass(frozen=True, slots=True)
class Node:
    """
    One place in an object.

    A *leaf* is owned and replaced as a whole (also an atomic list or map), a *struct* has declared fields, a *map* has
    any keys, a *set* holds plain values once each, a *keyed* list holds objects told apart by some of their fields.
    """

    word: Word
    shape: Shape
    keys: tuple[str, ...] = ()

    def field(self, name: str) -> "Node":
        """The place of a struct's field or of a map's key."""
        if self.word == "map":
            return _node(self.shape.inner or schema.ANY)
        assert self.shape.model is not None  # noqa: S101 - a struct has one
        known = schema.fields(self.shape.model)
        return _placed(schema.short_name(self.shape.model), name, known.get(name, schema.ANY))

    @property
    def entry(self) -> "Node":
        """The place of one entry of a keyed list."""
        return _node(self.shape.inner or schema.ANY)

    def key_of(self, entry: Json) -> Json:
        """What tells an entry of a keyed list from the others, defaults filled in."""
        return {key: entry[key] if key in entry else KEY_DEFAULTS.get(key, "") for key in self.keys}


def root(kind: Kind) -> Node:
    """The place of a whole object."""
    return Node("struct", schema.root(kind))


def whole(model: type) -> Node:
    """An object of a model, wherever it stands, to look at its fields."""
    return Node("struct", Shape("object", model=model))


def _placed(model: str, name: str, shape: Shape) -> Node:
    place = (model, name)
    if place in GRANULAR:
        return Node("struct", shape)
    if place in ATOMIC_MAPS:
        return Node("leaf", shape)
    if shape.word == "list":
        if keys := KEYED.get(place):
            return Node("keyed", shape, keys)
        return Node("set" if place in SETS else "leaf", shape)
    return _node(shape)


def _node(shape: Shape) -> Node:
    if shape.word == "object":
        return Node("leaf" if schema.short_name(shape.model) in ATOMIC_MODELS else "struct", shape)
    return Node("map" if shape.word == "map" else "leaf", shape)


KEY_DEFAULTS: Final[dict[str, Any]] = {"protocol": "TCP"}
"""What a key field is when an entry does not say it."""

ATOMIC_MODELS: Final = frozenset({
    "ConfigMapKeySelector", "FileKeySelector", "LabelSelector", "LocalObjectReference", "NodeSelector",
    "NodeSelectorTerm", "ObjectFieldSelector", "ObjectReference", "OwnerReference", "ResourceFieldSelector",
    "SecretKeySelector", "SecretReference", "TopologySelectorTerm", "TypedLocalObjectReference",
})  # fmt: skip
"""Objects that are always written as one whole."""

GRANULAR: Final = frozenset({("PersistentVolumeSpec", "claimRef")})
"""The one place where such an object is written field by field."""

ATOMIC_MAPS: Final = frozenset({("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")})

SETS: Final = frozenset({
    ("CSIDriverSpec", "volumeLifecycleModes"), ("ContainerRestartRuleOnExitCodes", "values"),
    ("NodeSpec", "podCIDRs"), ("ObjectMeta", "finalizers"),
})  # fmt: skip

_CONTAINER: Final = {
    "env": ("name",), "ports": ("containerPort", "protocol"), "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
}  # fmt: skip
_POD: Final = {
    "containers": ("name",), "ephemeralContainers": ("name",), "initContainers": ("name",), "hostAliases": ("ip",),
    "imagePullSecrets": ("name",), "resourceClaims": ("name",), "schedulingGates": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"), "volumes": ("name",),
}  # fmt: skip
_WITH_CONDITIONS: Final = (
    "NamespaceStatus", "NodeStatus", "PersistentVolumeClaimStatus", "PodStatus", "ServiceStatus", "StatefulSetStatus",
)  # fmt: skip

KEYED: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    **{("Container", name): keys for name, keys in _CONTAINER.items()},
    **{("EphemeralContainer", name): keys for name, keys in _CONTAINER.items()},
    **{("PodSpec", name): keys for name, keys in _POD.items()},
    **{(model, "conditions"): ("type",) for model in _WITH_CONDITIONS},
    ("ContainerStatus", "allocatedResourcesStatus"): ("name",),
    ("ContainerStatus", "volumeMounts"): ("mountPath",),
    ("CSINodeSpec", "drivers"): ("name",),
    ("NodeStatus", "addresses"): ("type",),
    ("ObjectMeta", "ownerReferences"): ("uid",),
    ("PodStatus", "podIPs"): ("ip",),
    ("PodStatus", "resourceClaimStatuses"): ("name",),
    ("ResourceRequirements", "claims"): ("name",),
    ("ServiceSpec", "ports"): ("port", "protocol"),
}
"""Lists of objects, and by which of their fields the objects are told apart."""
