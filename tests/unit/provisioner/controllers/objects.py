"""The objects that the tests of the storage controllers start with."""

from typing import Any

from provisioner.model.kinds import Json
from provisioner.model.names import TEMPLATE_NODE

POOL = "0b9f6a52-5d53-4d3f-8ac5-70f3ad2c4a11"
HANDLE = f"{POOL}.pvc-c1"


def claim(*, uid: str = "c1", phase: str = "Pending", **spec: Any) -> Json:
    """Return the claim default/www-web-0."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "www-web-0", "namespace": "default", "uid": uid},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "mooring-directory",
            "volumeMode": "Filesystem",
            **spec,
        },
        "status": {"phase": phase},
    }


def volume(
    *, phase: str = "Bound", policy: str = "Retain", claim_uid: str = "c1", finalizers: tuple[str, ...] = ()
) -> Json:
    """Return the volume pvc-c1, provisioned for that claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-c1",
            "uid": "v1",
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "csi.mooring.dev",
                "mooring.dev/namespace-uid": "n1",
                "mooring.dev/stateful-set": "web",
                "mooring.dev/template": "www",
                "mooring.dev/ordinal": "0",
            },
            "finalizers": list(finalizers),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": "default",
                "name": "www-web-0",
                "uid": claim_uid,
            },
            "csi": {"driver": "csi.mooring.dev", "volumeHandle": HANDLE},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": f"pool.mooring.dev/{POOL}", "operator": "In", "values": ["present"]},
                                {"key": TEMPLATE_NODE, "operator": "DoesNotExist"},
                            ]
                        }
                    ]
                }
            },
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": "mooring-directory",
            "volumeMode": "Filesystem",
        },
        "status": {"phase": phase},
    }


def stateful_set(*templates: str, replicas: int = 2) -> Json:
    """Return the set default/web with these templates, or with the one template www."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default", "uid": "s1"},
        "spec": {
            "replicas": replicas,
            "serviceName": "nginx",
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": []}},
            "volumeClaimTemplates": [{"metadata": {"name": each}, "spec": {}} for each in templates or ("www",)],
        },
    }


def storage_class(*, adopt: str = "Ordinal", policy: str = "Retain", **parameters: str) -> Json:
    """Return the class mooring-directory."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "mooring-directory", "uid": "sc1"},
        "provisioner": "csi.mooring.dev",
        "reclaimPolicy": policy,
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": {"backend": "directory", "adopt": adopt, **parameters},
    }


def namespace(name: str = "default", uid: str = "n1") -> Json:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": uid}}


def node(*pools: str) -> Json:
    """Return the node n, which has these pools."""
    labels = {f"pool.mooring.dev/{pool}": "present" for pool in pools}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n", "uid": "node1", "labels": {"topology.mooring.dev/node": "n", **labels}},
        "spec": {},
    }
