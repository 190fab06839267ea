"""
How the value of each field is merged: as a whole, by field, by key, or by entry.

Source: the markers listType, listMapKey, mapType and structType on the types of k8s.io/api, which Kubernetes 1.37
publishes as x-kubernetes-list-type, x-kubernetes-list-map-keys and x-kubernetes-map-type. A list without a marker is
atomic, a map without one is granular.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from provisioner.embedded.apiserver.store import schema
from provisioner.embedded.apiserver.store.schema import Shape
from provisioner.model.kinds import Json, Kind

NodeType = Literal["leaf", "struct", "map", "set", "keyed"]


@dataclass(frozen=True, slots=True)
class Node:
    """
    One position in the tree of an object.

    A *leaf* is owned and replaced as a whole (also an atomic list or map), a *struct* has declared fields, a *map* has
    arbitrary keys, a *set* has each plain value once, a *keyed* list has objects that some of their fields identify.
    """

    type: NodeType
    shape: Shape
    keys: tuple[str, ...] = ()

    def field(self, name: str) -> "Node":
        """Return the node of a struct's field or of a map's key."""
        if self.type == "map":
            return _node(self.shape.inner or schema.ANY)
        assert self.shape.model is not None  # noqa: S101 - a struct has one
        known = schema.fields(self.shape.model)
        return _field_node(schema.short_name(self.shape.model), name, known.get(name, schema.ANY))

    @property
    def entry(self) -> "Node":
        """The node of one entry of a keyed list."""
        return _node(self.shape.inner or schema.ANY)

    def key_of(self, entry: Json) -> Json:
        """Return the key fields of an entry of a keyed list, with their defaults."""
        return {key: entry[key] if key in entry else KEY_DEFAULTS.get(key, "") for key in self.keys}


def root(kind: Kind) -> Node:
    """Return the node of a whole object."""
    return Node("struct", schema.root(kind))


def model_node(model: type) -> Node:
    """Return the node of an object of a model, wherever it occurs."""
    return Node("struct", Shape("object", model=model))


def _field_node(model: str, name: str, shape: Shape) -> Node:
    model_field = (model, name)
    if model_field in GRANULAR:
        return Node("struct", shape)
    if model_field in ATOMIC_MAPS:
        return Node("leaf", shape)
    if shape.type_name == "list":
        if keys := KEYED.get(model_field):
            return Node("keyed", shape, keys)
        return Node("set" if model_field in SETS else "leaf", shape)
    return _node(shape)


def _node(shape: Shape) -> Node:
    if shape.type_name == "object":
        return Node("leaf" if schema.short_name(shape.model) in ATOMIC_MODELS else "struct", shape)
    return Node("map" if shape.type_name == "map" else "leaf", shape)


KEY_DEFAULTS: Final[dict[str, Any]] = {"protocol": "TCP"}
"""The values of key fields that an entry does not set."""

ATOMIC_MODELS: Final = frozenset({
    "ConfigMapKeySelector", "FileKeySelector", "LabelSelector", "LocalObjectReference", "NodeSelector",
    "NodeSelectorTerm", "ObjectFieldSelector", "ObjectReference", "OwnerReference", "ResourceFieldSelector",
    "SecretKeySelector", "SecretReference", "TopologySelectorTerm", "TypedLocalObjectReference",
})  # fmt: skip
"""Models of objects that are always replaced as a whole."""

GRANULAR: Final = frozenset({("PersistentVolumeSpec", "claimRef")})
"""The fields in which such an object is merged by field."""

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
"""Keyed lists, and the fields that identify their entries."""
