"""The objects that the tests of the storage controllers start with."""

from typing import Any

from provisioner.model.kinds import Json
from provisioner.model.names import TEMPLATE_NODE
from tests import builders

POOL = "0b9f6a52-5d53-4d3f-8ac5-70f3ad2c4a11"
HANDLE = f"{POOL}.pvc-c1"


def claim(*, uid: str = "c1", phase: str = "Pending", **spec: Any) -> Json:
    """Return the claim default/www-web-0."""
    fields = {"storageClassName": "mooring-directory", "volumeMode": "Filesystem", **spec}
    found = builders.in_namespace(builders.claim("www-web-0", **fields), uid=uid)
    return found | {"status": {"phase": phase}}


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
    claims = [builders.claim(each) for each in templates or ("www",)]
    return builders.in_namespace(builders.stateful_set(templates=claims, replicas=replicas), uid="s1")


def storage_class(*, adopt: str = "Ordinal", policy: str = "Retain", **parameters: str) -> Json:
    """Return the class mooring-directory."""
    found = builders.storage_class(
        "mooring-directory", policy=policy, parameters={"backend": "directory", "adopt": adopt, **parameters}
    )
    found["metadata"]["uid"] = "sc1"
    return found


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
