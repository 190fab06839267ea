"""StatefulSets of the tests, and the state of their claims and pods."""

import json
from functools import partial
from typing import Any

from tests import builders
from tests.cluster.running import IMAGE, Running
from tests.until import until

Json = dict[str, Any]

WRITE_NAME = "test -e /data/host || hostname > /data/host; trap exit TERM; while :; do sleep 1; done"
"""Each pod writes its host name into its volume, once."""


def web(
    storage_class: str, *, replicas: int = 2, size: str = "1Gi", templates: tuple[str, ...] = ("www",), **spec: Any
) -> list[Json]:
    """Return the headless Service `nginx` and the StatefulSet `web`, whose first volume is mounted at /data."""
    mounts = [
        {"name": name, "mountPath": "/data" if index == 0 else f"/{name}"} for index, name in enumerate(templates)
    ]
    container = {"image": IMAGE, "command": ["sh", "-c", WRITE_NAME], "volumeMounts": mounts}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "nginx"},
        "spec": {
            "clusterIP": "None",
            "selector": dict(builders.LABELS),
            "ports": [{"port": 80}],
            "publishNotReadyAddresses": True,
        },
    }
    stateful_set = builders.stateful_set(
        templates=[claim(name, storage_class, size=size) for name in templates],
        container=container,
        pod_spec={"terminationGracePeriodSeconds": 1},
        **{"replicas": replicas, **spec},
    )
    return [service, stateful_set]


def claim(name: str, storage_class: str, *, size: str = "1Gi") -> Json:
    """Return a claim, or a claim template."""
    return builders.claim(name, size=size, storageClassName=storage_class)


def storage_class(
    name: str, *, policy: str = "Retain", binding: str = "WaitForFirstConsumer", **parameters: str
) -> Json:
    """Return a StorageClass of Mooring whose volumes can be expanded."""
    return builders.storage_class(
        name, policy=policy, parameters=parameters, volumeBindingMode=binding, allowVolumeExpansion=True
    )


def rolled_out(cluster: Running, namespace: str, *, seconds: int = 180) -> None:
    """Wait until the set has all its pods."""
    cluster.kubectl("-n", namespace, "rollout", "status", "statefulset/web", f"--timeout={seconds}s")


def hosts(cluster: Running, namespace: str, *ordinals: int) -> dict[str, str]:
    """Return the host name that each pod reads in its volume; retry while a kubelet is starting."""
    names = [f"web-{ordinal}" for ordinal in ordinals]
    return {name: until(partial(_host, cluster, namespace, name), f"{name} can be asked") for name in names}


def _host(cluster: Running, namespace: str, name: str) -> str:
    try:
        return cluster.shell(namespace, name, "cat /data/host").strip() or "nothing"
    except AssertionError as error:
        if "unable to upgrade connection" in str(error):
            return ""
        raise


def bound(cluster: Running, namespace: str) -> dict[str, str]:
    """Return claim → volume of the claims that are Bound."""
    claims = cluster.json("-n", namespace, "get", "pvc")["items"]
    return {
        each["metadata"]["name"]: each["spec"]["volumeName"]
        for each in claims
        if each.get("status", {}).get("phase") == "Bound"
    }


def placed(cluster: Running, namespace: str) -> dict[str, str]:
    """Return pod → node."""
    pods = cluster.json("-n", namespace, "get", "pods")["items"]
    return {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in pods}


def events(cluster: Running, namespace: str, name: str) -> str:
    """Return the Events about an object."""
    events = cluster.json("-n", namespace, "get", "events", f"--field-selector=involvedObject.name={name}")["items"]
    return "\n".join(f"{each['reason']}: {each['message']}" for each in events)


def driver_on(cluster: Running, node: str) -> str:
    """Return the driver's pod on a node."""
    found: str = until(lambda: _driver_on(cluster, node), f"node {node} has a driver that is ready")
    return found


def _driver_on(cluster: Running, node: str) -> str:
    pods = cluster.json("-n", "mooring-system", "get", "pods", "-l", "app.kubernetes.io/component=driver")["items"]
    for pod in pods:
        conditions = pod.get("status", {}).get("conditions", ())
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if pod["spec"].get("nodeName") == node and ready and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["name"])
    return ""


def delete_now(cluster: Running, namespace: str, *names: str) -> None:
    """Delete without waiting."""
    cluster.kubectl("-n", namespace, "delete", "--wait=false", *names)


def apply_all(cluster: Running, *objects: Json) -> None:
    """Apply cluster-scoped objects."""
    cluster.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
