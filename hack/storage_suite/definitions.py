"""
The backends that the storage tests run on: the StorageClass and the capabilities of each.

The capabilities are those of k8s.io/kubernetes/test/e2e/storage/framework/testdriver.go. The tests ignore unknown
names, so CAPABILITIES has the known ones.
"""

from dataclasses import dataclass
from typing import Any, Final

DRIVER: Final = "csi.mooring.dev"
TOPOLOGY_KEY: Final = "topology.mooring.dev/node"
ATTRIBUTES_CLASS: Final = "storage-suite"
STRESS: Final = {"NumPods": 4, "NumRestarts": 4}

CAPABILITIES: Final = frozenset(
    {
        *("persistence", "block", "fsGroup", "volumeMountGroup", "exec", "snapshotDataSource", "snapshotMetadata"),
        *("groupSnapshot", "pvcDataSource", "multipods", "RWX", "controllerExpansion", "nodeExpansion"),
        *("offlineExpansion", "onlineExpansion", "volumeLimits", "singleNodeVolume", "topology", "capacity"),
        *("FSResizeFromSourceNotSupported", "readWriteOncePod", "multiplePVsSameID", "capReadOnlyMany"),
        "seLinuxMount",
    }
)
EVERYWHERE: Final = (
    *("persistence", "fsGroup", "exec", "multipods", "singleNodeVolume", "topology", "capacity"),
    *("controllerExpansion", "nodeExpansion", "offlineExpansion", "onlineExpansion"),
    *("readWriteOncePod", "multiplePVsSameID"),
)
"""The capabilities on each backend. The shipped manifests set no volume limit for nodes."""


@dataclass(frozen=True)
class Backend:
    """
    One backend.

    :ivar parameters: of its StorageClass
    :ivar filesystems: those that the tests may request by name; none requests the default of the class
    :ivar least: the smallest volume, as a quantity
    :ivar more: capabilities beyond EVERYWHERE
    """

    name: str
    parameters: dict[str, str]
    filesystems: tuple[str, ...]
    least: str
    more: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """The StorageClass that the tests copy."""
        return f"storage-suite-{self.name}"


BACKENDS: Final = {
    backend.name: backend
    for backend in (
        Backend("loop-ext4", {"backend": "loop", "csi.storage.k8s.io/fstype": "ext4"}, ("ext4",), "64Mi", ("block",)),
        Backend("loop-xfs", {"backend": "loop", "csi.storage.k8s.io/fstype": "xfs"}, ("xfs",), "320Mi", ("block",)),
        Backend("directory", {"backend": "directory"}, (), "1Mi"),
    )
}


def objects() -> list[dict[str, Any]]:
    """Return the classes for the cluster. Deleted volumes are purged at once, to free their capacity."""
    classes: list[dict[str, Any]] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": backend.class_name},
            "provisioner": DRIVER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
            "parameters": {**backend.parameters, "adopt": "Never", "trashRetention": "0s"},
        }
        for backend in BACKENDS.values()
    ]
    attributes = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttributesClass",
        "metadata": {"name": ATTRIBUTES_CLASS},
        "driverName": DRIVER,
        "parameters": {"trashRetention": "1m"},
    }
    return [*classes, attributes]


def driver_definition(backend: Backend) -> dict[str, Any]:
    """
    Return the definition that ``e2e.test --storage.testdriver`` reads (test/e2e/storage/external/external.go).

    Without VolumeModifyStressTestOptions: those specs modify claims of which they create no pod, so their classes have
    to bind at once, and ours wait for the consumer. The other specs with a VolumeAttributesClass do run.
    """
    return {
        "StorageClass": {"FromExistingClassName": backend.class_name},
        "VolumeAttributesClass": {"FromExistingClassName": ATTRIBUTES_CLASS},
        "DriverInfo": {
            "Name": DRIVER,
            "SupportedFsType": {name: {} for name in ("", *backend.filesystems)},
            "SupportedMountOption": {"noatime": {}},
            "SupportedSizeRange": {"Min": backend.least},
            "TopologyKeys": [TOPOLOGY_KEY],
            "Capabilities": dict.fromkeys((*EVERYWHERE, *backend.more), True),
            "StressTestOptions": STRESS,
        },
    }
