"""
The kinds of API objects that Mooring uses, and their paths on an API server.

Source of the path rules: Kubernetes API conventions, "Types (Kinds)" and "Resources".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
"""One decoded API object."""

Object = Mapping[str, Any]
"""The same, for reading only."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: its names in a manifest, in a path and on a command line."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects, such as ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """Its name in ``kubectl get`` and ``-o name``."""
        return self.name.lower()

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object or a collection; an empty namespace means all namespaces for a collection."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{inside}/{self.plural}{tail}"


NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",))
NODE: Final = Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",))
POD: Final = Kind("", "v1", "Pod", "pods", namespaced=True, short_names=("po",))
SERVICE: Final = Kind("", "v1", "Service", "services", namespaced=True, short_names=("svc",))
EVENT: Final = Kind("", "v1", "Event", "events", namespaced=True, short_names=("ev",))
CLAIM: Final = Kind(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True, short_names=("pvc", "claim")
)
VOLUME: Final = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv", "volume"))
STATEFUL_SET: Final = Kind("apps", "v1", "StatefulSet", "statefulsets", namespaced=True, short_names=("sts",))
STORAGE_CLASS: Final = Kind(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, short_names=("sc",)
)
CSI_DRIVER: Final = Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False)
CSI_NODE: Final = Kind("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False)
CSI_STORAGE_CAPACITY: Final = Kind(
    "storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", namespaced=True
)
ATTRIBUTES_CLASS: Final = Kind(
    "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", namespaced=False, short_names=("vac",)
)
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)

SECRET: Final = Kind("", "v1", "Secret", "secrets", namespaced=True)
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", namespaced=True, short_names=("cm",))
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", namespaced=True)

KINDS: Final = (
    NAMESPACE, NODE, POD, SERVICE, EVENT, CLAIM, VOLUME, STATEFUL_SET, STORAGE_CLASS,
    CSI_DRIVER, CSI_NODE, CSI_STORAGE_CAPACITY, ATTRIBUTES_CLASS, LEASE,
)  # fmt: skip
"""All kinds that the engine serves, in the order of listings."""


def kind_of(api_version: str, name: str) -> Kind | None:
    """Return the kind that a manifest names; None for an unknown one."""
    return next((kind for kind in KINDS if kind.api_version == api_version and kind.name == name), None)


def kind_named(word: str) -> Kind | None:
    """Return the kind for a word on a command line: plural, singular or short name, in any case."""
    folded = word.lower()
    return next((k for k in KINDS if folded in (k.plural, k.singular, *k.short_names)), None)
