"""
The machine with the API server, and the commands of its start.

It is also the network switch: a bridge in its network namespace has one port for the host and one for each node, and it
routes to the pods, so that the API server reaches webhooks and the host needs only a route to the machines.
"""

from pathlib import Path
from typing import Any, Final

from hack.cluster.place import API_PORT, SERVICES, Cluster, Node

HOST_PORT: Final = "host"
"""The bridge's port for the cable to the host, whose other end is Cluster.interface."""

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"


def definition(cluster: Cluster, pki: Path, start_node: dict[str, list[str]]) -> dict[str, Any]:
    """Return the definition for machine.py on the control plane; the nodes are components of it."""
    return {
        "prepare": [*_network(cluster), *(command for node in cluster.nodes for command in _cable(node))],
        "run": {
            "etcd": _etcd(cluster),
            "kube-apiserver": _api_server(cluster, pki),
            "kube-controller-manager": _controller_manager(pki),
            "kube-scheduler": [
                "kube-scheduler",
                f"--kubeconfig={pki}/kube-scheduler.kubeconfig",
                "--leader-elect=false",
            ],
            "coredns": ["coredns", "-conf", str(cluster.control_plane.folder / "Corefile")],
            **start_node,
        },
    }


def namespace(node: Node) -> str:
    """Return the name of a node's network namespace for `ip` on the control plane."""
    return f"/run/netns/{node.name}"


def _network(cluster: Cluster) -> list[list[str]]:
    """Return the commands that create the switch; /run is private, for the names of network namespaces."""
    me = cluster.control_plane
    commands = [
        "mount -t tmpfs -o mode=0755 tmpfs /run",
        f"hostname {me.name}",
        "ip link set lo up",
        "ip link add lan type bridge",
        f"ip address add {me.address}/24 dev lan",
        f"ip link set {HOST_PORT} master lan up",
        "ip link set lan up",
        f"ip route add default via {cluster.address(1)}",
        "sysctl -q -w net.ipv4.ip_forward=1",
    ]
    return [command.split() for command in commands]


def _cable(node: Node) -> list[list[str]]:
    """Return the commands that create a node's network namespace and the cable to it."""
    commands = [
        f"ip netns add {node.name}",
        f"ip link add {node.name} type veth peer name eth0 netns {node.name}",
        f"ip link set {node.name} master lan up",
        f"ip route add {node.pods} via {node.address} dev lan",
    ]
    return [command.split() for command in commands]


def _etcd(cluster: Cluster) -> list[str]:
    data = cluster.control_plane.disk / "etcd"
    return [
        "etcd",
        f"--data-dir={data}",
        "--unsafe-no-fsync",  # deleted with the cluster
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ]


def _api_server(cluster: Cluster, pki: Path) -> list[str]:
    return [
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={cluster.control_plane.address}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--enable-aggregator-routing=true",  # no kube-proxy here: reach webhooks by their pods' addresses
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/kube-apiserver.crt",
        f"--tls-private-key-file={pki}/kube-apiserver.key",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
    ]


def _controller_manager(pki: Path) -> list[str]:
    return [
        "kube-controller-manager",
        f"--kubeconfig={pki}/kube-controller-manager.kubeconfig",
        "--leader-elect=false",  # a killed component works again after a second, not after its lease
        "--kube-api-qps=200",  # by default it binds five claims a second, too slow for hundreds
        "--kube-api-burst=400",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
    ]


def corefile(pki: Path) -> str:
    """Return the configuration of CoreDNS, which runs beside the API server and needs no image."""
    return f"""cluster.local in-addr.arpa:53 {{
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {pki}/coredns.kubeconfig
        ttl 5
    }}
}}
"""


def roles() -> list[dict[str, Any]]:
    """Return the RBAC rules that installers of Kubernetes create, and Kubernetes itself does not."""
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "mooring:coredns"},
            "rules": rules,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "mooring:coredns"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "mooring:coredns"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "mooring:coredns"}],
        },
    ]
