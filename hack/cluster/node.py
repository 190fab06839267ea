"""
A machine that runs pods: the commands of its start, and the configuration of containerd, kubelet and kube-proxy.

It sees the host's files except for the folders that a node writes to, such as /var/lib/kubelet: those are its own, at
their usual paths, so that manifests and drivers run on it unchanged. /run is in memory and lost at power off; the other
folders are on disk.
"""

import json
from pathlib import Path
from typing import Any, Final

from hack.cluster.place import PODS, Cluster, Node

SOCKET: Final = "/run/containerd/containerd.sock"
OWN: Final = ("kubelet", "containerd", "cni", "mooring")
"""The folders of /var/lib that each node has for itself; the pool is in the last one, by convention."""

PAUSE: Final = "mooring.dev/pause:1"


def definition(cluster: Cluster, node: Node, pki: Path) -> dict[str, Any]:
    """Return the definition for machine.py on a node."""
    return {
        "prepare": [*_network(cluster, node), *_mounts(node)],
        "run": {
            "containerd": ["containerd", f"--config={node.folder / 'containerd.toml'}"],
            "kubelet": [
                "kubelet",
                f"--config={node.folder / 'kubelet.json'}",
                f"--kubeconfig={pki}/{node.name}.kubeconfig",
                f"--hostname-override={node.name}",
                f"--node-ip={node.address}",
                "--root-dir=/var/lib/kubelet",
            ],
            "kube-proxy": ["kube-proxy", f"--config={node.folder / 'kube-proxy.json'}"],
        },
    }


def configure(cluster: Cluster, node: Node, pki: Path) -> None:
    """Write the files that the components read, and create the node's own folders."""
    for own in OWN:
        (node.disk / own).mkdir(parents=True)
    (node.disk / "log").mkdir()
    (node.folder / "containerd.toml").write_text(_containerd(node), encoding="utf-8")
    (node.folder / "cni").mkdir()
    (node.folder / "cni" / "pods.conflist").write_text(json.dumps(_pod_network(node)), encoding="utf-8")
    (node.folder / "kubelet.json").write_text(json.dumps(_kubelet(cluster, node, pki), indent=2), encoding="utf-8")
    (node.folder / "kube-proxy.json").write_text(json.dumps(_kube_proxy(node, pki), indent=2), encoding="utf-8")
    (node.folder / "resolv.conf").write_text("", encoding="utf-8")


def _network(cluster: Cluster, node: Node) -> list[list[str]]:
    others = [other for other in cluster.nodes if other != node]
    commands = [
        f"hostname {node.name}",
        "iptables -t nat -F",  # after a power off there are no rules
        "iptables -F",
        "ip link set lo up",
        f"ip address replace {node.address}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route replace default via {cluster.address(1)}",
        *(f"ip route replace {other.pods} via {other.address}" for other in others),
        "sysctl -q -w net.ipv4.ip_forward=1",
    ]
    return [command.split() for command in commands]


def _mounts(node: Node) -> list[list[str]]:
    """
    Return the commands that mount the node's own folders.

    The overlay on /var/lib provides the mount points, which the host need not have. Shared propagation is set last, for
    all mounts: without it a pod's Bidirectional mounts stay in the pod.
    """
    over = "lowerdir=/var/lib,upperdir=/run/over/upper,workdir=/run/over/work"
    return [
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"],
        ["mkdir", "-p", "/run/lock", "/run/over/upper", "/run/over/work"],
        ["mount", "-t", "overlay", "-o", over, "none", "/var/lib"],
        *(["mkdir", "-p", f"/var/lib/{own}"] for own in OWN),
        *(["mount", "--bind", str(node.disk / own), f"/var/lib/{own}"] for own in OWN),
        ["mount", "--bind", str(node.disk / "log"), "/var/log"],
        ["mount", "--make-rshared", "/"],
    ]


def _containerd(node: Node) -> str:
    """Return the configuration of containerd; runc needs restrict_oom_score_adj without CAP_SYS_RESOURCE."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{node.folder / "cni"}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _pod_network(node: Node) -> dict[str, Any]:
    """Return the CNI configuration, point to point: pods of one node are routed, so Services work between them, too."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [{"type": "ptp", "ipam": addresses}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def cgroup(cluster: Cluster, node: Node) -> str:
    """Return the cgroup of a node's pods."""
    return f"/mooring-{cluster.name}/{node.name}"


def _kubelet(cluster: Cluster, node: Node, pki: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{pki}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/{node.name}.crt",
        "tlsPrivateKeyFile": f"{pki}/{node.name}.key",
        "address": node.address,
        "clusterDNS": [cluster.control_plane.address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(node.folder / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup(cluster, node),
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # an imported image cannot be pulled again
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "maxPods": 110,
    }


def _kube_proxy(node: Node, pki: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": f"{pki}/kube-proxy.kubeconfig"},
        "clusterCIDR": PODS,
        # The size of the table can be set on the host only; a network namespace may only read it.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
