"""The Node, CSINode and CSIDriver objects of the engine's one node, and its Ready condition."""

import datetime as dt
import os
import platform

from provisioner.kube.transport import Transport
from provisioner.model.kinds import NODE, Json
from provisioner.model.names import DRIVER, HOSTNAME_LABEL, NODE_TOPOLOGY

MOST_PODS = "110"
"""The maximum number of pods, which is kubelet's default."""
READY_MESSAGE = "the engine runs; it mounts the volumes of pods and starts no containers"


def objects(name: str) -> list[Json]:
    """Return the objects that describe this node: Node, CSINode and CSIDriver."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    node: Json = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                HOSTNAME_LABEL: name,
                NODE_TOPOLOGY: name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture,
            },
        },
        "spec": {},
    }
    csi_node: Json = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name},
        "spec": {"drivers": [{"name": DRIVER, "nodeID": name, "topologyKeys": [NODE_TOPOLOGY]}]},
    }
    driver: Json = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": DRIVER},
        "spec": {
            "attachRequired": False,
            "podInfoOnMount": False,
            "volumeLifecycleModes": ["Persistent"],
            # Free capacity is read from the driver, so there are no CSIStorageCapacity objects.
            "storageCapacity": False,
            # No container is started, so fsGroup has no effect.
            "fsGroupPolicy": "None",
        },
    }
    return [node, csi_node, driver]


async def report(transport: Transport, name: str, *, ready: bool, why: str = READY_MESSAGE) -> None:
    """Write the node's Ready condition."""
    now = timestamp()
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "EngineReady" if ready else "EngineStopped",
        "message": why,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    status = {
        "conditions": [condition],
        "nodeInfo": _info(),
        "addresses": [{"type": "Hostname", "address": name}],
        "capacity": resources(),
        "allocatable": resources(),
    }
    await transport.patch(NODE, name, {"status": status}, subresource="status")


def resources() -> Json:
    """Return the machine's resources, which `kubectl describe node` shows; the engine does not limit pods by them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory >> 10}Ki", "pods": MOST_PODS}


def timestamp() -> str:
    """Return the present time in the format of the API."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _info() -> Json:
    """Return the node's system information; all fields of NodeSystemInfo are required by its schema."""
    system = os.uname()
    return {
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kernelVersion": system.release,
        "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", system.sysname)
        if os.path.exists("/etc/os-release")  # noqa: PTH110
        else system.sysname,
        "containerRuntimeVersion": "none://",
        "kubeletVersion": "v1.37.0+mooring",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": platform.machine(),
    }
