"""Build the Kubernetes objects of all tests; each suite adds its own defaults, such as an image or a class."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

LABELS: Mapping[str, str] = {"app": "nginx"}


def claim(name: str, *, size: str = "1Gi", labels: Mapping[str, str] | None = None, **spec: Any) -> Json:
    """Return a claim, or a claim template; `spec` replaces fields of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
    }


def pod(name: str, *, container: Json | None = None, labels: Mapping[str, str] | None = None, **spec: Any) -> Json:
    """Return a pod with one container."""
    containers = [{"name": "main", "image": "nginx", **(container or {})}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": {"containers": containers, **spec},
    }


def stateful_set(
    *, templates: Sequence[Json], container: Json | None = None, pod_spec: Json | None = None, **spec: Any
) -> Json:
    """Return the StatefulSet `web` with these claim templates; `pod_spec` and `spec` add fields."""
    template = pod("web", container=container, labels=LABELS, **(pod_spec or {}))
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "nginx",
            "selector": {"matchLabels": dict(LABELS)},
            "template": {"metadata": {"labels": dict(LABELS)}, "spec": template["spec"]},
            "volumeClaimTemplates": list(templates),
            **spec,
        },
    }


def storage_class(
    name: str, *, policy: str = "Retain", parameters: Mapping[str, str] | None = None, **more: Any
) -> Json:
    """Return a StorageClass of Mooring that waits for its first consumer; `more` replaces fields."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "csi.mooring.dev",
        "reclaimPolicy": policy,
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": dict(parameters or {}),
        **more,
    }


def in_namespace(built: Json, **metadata: Any) -> Json:
    """Return the object in namespace `default`, with more metadata such as its UID."""
    return {**built, "metadata": {**built["metadata"], "namespace": "default", **metadata}}


def kubeconfig(server: str, *, token: str) -> Json:
    """Return a kubeconfig with one server, and a token for it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "c", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
