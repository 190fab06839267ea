"""Kubernetes objects for the tests of the cluster."""

from typing import Any

from tests import builders
from tests.cluster.running import IMAGE


def pod(name: str, *, node: str = "", command: str = "sleep infinity", **spec: Any) -> dict[str, Any]:
    """Return a pod with one container, on any node or on the named one."""
    container = {"image": IMAGE, "command": ["sh", "-c", command]} | spec.pop("container", {})
    selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    fields = {"terminationGracePeriodSeconds": 1} | selector | spec
    return builders.pod(name, container=container, labels={"app": name}, **fields)


def service(name: str, **spec: Any) -> dict[str, Any]:
    """Return a Service for the pods that have its name as a label."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
