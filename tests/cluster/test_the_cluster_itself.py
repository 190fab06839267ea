"""The cluster provides what the other tests of this folder need."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hack.cluster import life
from hack.cluster.place import folder_of
from tests.cluster.objects import pod, service
from tests.cluster.running import Running
from tests.until import until

pytestmark = pytest.mark.needs("cluster")


def test_two_nodes_are_ready(cluster: Running) -> None:
    """Both have the requested version."""
    nodes = cluster.json("get", "nodes")["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["node-1", "node-2"]
    for node in nodes:
        assert {"type": "Ready", "status": "True"}.items() <= node["status"]["conditions"][-1].items()
        assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{cluster.cluster.version}"


def test_logs_and_exec_work_for_a_pod_on_each_node(cluster: Running, namespace: str) -> None:
    """The API server proxies kubectl to each kubelet."""
    command = "echo hello from $(hostname); sleep infinity"
    cluster.apply(namespace, *(pod(f"on-{node}", node=node, command=command) for node in cluster.nodes))
    cluster.ready(namespace, *(f"on-{node}" for node in cluster.nodes))
    for node in cluster.nodes:
        assert cluster.kubectl("-n", namespace, "logs", f"on-{node}") == f"hello from on-{node}\n"
        assert cluster.shell(namespace, f"on-{node}", "hostname") == f"on-{node}\n"


def test_names_of_a_headless_service_resolve(cluster: Running, namespace: str) -> None:
    """The headless Service and each of its pods have an address in the cluster's DNS."""
    pods = [pod("web-1", subdomain="web", hostname="web-1"), pod("asker")]
    pods[0]["metadata"]["labels"]["app"] = "web"
    cluster.apply(namespace, service("web", clusterIP="None"), *pods)
    cluster.ready(namespace, "web-1", "asker")
    address = cluster.json("-n", namespace, "get", "pod", "web-1")["status"]["podIP"]
    for name in ("web", f"web-1.web.{namespace}.svc.cluster.local"):
        full = name if "." in name else f"{name}.{namespace}.svc.cluster.local"
        again = f"for i in $(seq 20); do nslookup {full} && exit; sleep 0.5; done; exit 1"
        assert address in cluster.shell(namespace, "asker", again)


def test_a_service_is_reached_by_its_address_and_by_its_name(cluster: Running, namespace: str) -> None:
    """Pods on the same node and on another node reach it."""
    first, second = cluster.nodes
    serve = "mkdir /www; echo here I am > /www/index.html; httpd -f -p 8080 -h /www"
    askers = [pod("near", node=first), pod("far", node=second)]
    cluster.apply(namespace, service("web"), pod("web", node=first, command=serve), *askers)
    cluster.ready(namespace, "web", "near", "far")
    address = cluster.json("-n", namespace, "get", "service", "web")["spec"]["clusterIP"]
    for asker in ("near", "far"):
        for host in (address, "web"):
            again = f"for i in $(seq 20); do timeout 2 wget -q -O - http://{host}/ && exit; sleep 0.5; done; exit 1"
            assert cluster.shell(namespace, asker, again) == "here I am\n"


def test_a_pod_calls_the_api_server_with_its_service_account(cluster: Running, namespace: str) -> None:
    """The token is mounted, the API server is reachable inside the cluster, and RBAC applies."""
    cluster.kubectl(
        "-n", namespace, "create", "rolebinding", "look", "--clusterrole=view", f"--serviceaccount={namespace}:default"
    )
    container = {"volumeMounts": [{"name": "machine", "mountPath": "/machine", "readOnly": True}]}
    machine = {"name": "machine", "hostPath": {"path": "/"}}
    cluster.apply(namespace, pod("asker", container=container, volumes=[machine]))
    cluster.ready(namespace, "asker")
    token = cluster.shell(namespace, "asker", "cat /var/run/secrets/kubernetes.io/serviceaccount/token")
    address = cluster.shell(namespace, "asker", "nslookup -type=a kubernetes.default.svc.cluster.local | tail -2")
    url = f"https://{address.split()[-1]}/api/v1/namespaces/{namespace}/pods/asker"
    # busybox's TLS does not suffice for every API server, so the machine's Python sends the request from the pod's network
    ask = f"chroot /machine {Path(sys.executable).resolve()} -c '{ASK}' {url} {token}"
    assert cluster.shell(namespace, "asker", ask) == "asker\n"


ASK = """
import json, ssl, sys, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
with urllib.request.urlopen(asked, context=ssl._create_unverified_context(), timeout=20) as answer:
    print(json.load(answer)["metadata"]["name"])
"""


def test_a_mount_in_a_pod_reaches_its_node(cluster: Running, namespace: str) -> None:
    """Bidirectional propagation works, which a CSI driver in a pod needs to mount volumes for other pods."""
    node, other = cluster.nodes
    path = f"/var/lib/mooring/{namespace}"
    mount = {"name": "host", "mountPath": "/host", "mountPropagation": "Bidirectional"}
    container = {"securityContext": {"privileged": True}, "volumeMounts": [mount]}
    volume = {"name": "host", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
    cluster.apply(namespace, pod("mounter", node=node, container=container, volumes=[volume]))
    cluster.ready(namespace, "mounter")
    cluster.shell(namespace, "mounter", "mkdir /host/at && mount -t tmpfs none /host/at && touch /host/at/seen")
    try:
        assert cluster.on(node).run("ls", f"{path}/at") == "seen\n"
        assert (cluster.on(node).root / path[1:] / "at" / "seen").exists()
        assert not (cluster.on(other).root / path[1:]).exists()
    finally:
        cluster.shell(namespace, "mounter", "umount /host/at")
    cluster.on(node).run("rm", "-r", path)


def test_components_that_are_killed_come_back(cluster: Running, namespace: str) -> None:
    """Pods keep running."""
    node = cluster.nodes[0]
    cluster.apply(namespace, pod("survivor", node=node))
    cluster.ready(namespace, "survivor")
    for component in ("kubelet", "containerd"):
        cluster.on(node).kill(component)
    for component in ("kube-controller-manager", "kube-scheduler", "kube-apiserver"):
        cluster.on("control-plane").kill(component)
    again(lambda: cluster.kubectl("get", "--raw=/readyz") == "ok")
    again(lambda: cluster.shell(namespace, "survivor", "echo still here") == "still here\n")
    cluster.apply(namespace, pod("newcomer", node=node))
    cluster.ready(namespace, "newcomer")
    status = cluster.json("-n", namespace, "get", "pod", "survivor")["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_a_node_that_loses_power_comes_back_with_its_disk(cluster: Running, namespace: str) -> None:
    """Processes, mounts and loop devices are gone, the disk is not, and the pod is restarted."""
    node = cluster.on(cluster.nodes[1])
    keep, lose = f"/var/lib/mooring/{namespace}", f"/run/{namespace}"
    cluster.apply(namespace, pod("restarted", node=node.name))
    cluster.ready(namespace, "restarted")
    node.run("truncate", "--size=1M", keep)
    node.run("touch", lose)
    device = node.run("losetup", "--find", "--show", keep).strip()
    node.power_off()
    try:
        assert not Path("/sys/block", Path(device).name, "loop", "backing_file").exists()
        assert (node.pool_folder / namespace).exists()
    finally:
        node.power_on()
    assert not Path(f"{node.root}{lose}").exists()

    def restarts() -> int:
        status = cluster.json("-n", namespace, "get", "pod", "restarted")["status"]
        count: int = status["containerStatuses"][0]["restartCount"]
        return count

    again(lambda: restarts() == 1)
    cluster.ready(namespace, "restarted")
    node.run("rm", keep)


@pytest.mark.timeout(600)
def test_a_cluster_that_was_taken_down_leaves_nothing(cluster: Running) -> None:
    """A second cluster is taken down while the first one runs; they share the machine without conflicts."""
    name = f"{cluster.cluster.name[:8]}-second"
    before = machine_state()
    try:
        second = life.up(name, nodes=1)
        assert second.network != cluster.cluster.network
        assert len(cluster.json("get", "nodes")["items"]) == 2
        assert len(Running(second).json("get", "nodes")["items"]) == 1
        Running(second).apply("default", pod("last"))
        Running(second).ready("default", "last")
    finally:
        life.down(name)
    assert machine_state() == before
    assert not folder_of(name).exists()


def machine_state() -> dict[str, object]:
    """Return what a cluster could leave behind: processes, networks, mounts, cgroups, loop devices, kernel settings."""
    words = [entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {
        "processes": sum(b"mooring/clusters" in text for text in map(_read, words)),
        "networks": sorted(path.name for path in Path("/sys/class/net").glob("mooring*")),
        "mounts": "mooring/clusters" in Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
        "cgroups": sorted(map(str, Path("/sys/fs/cgroup").glob("**/mooring-*"))),
        "kernel": [_read(Path("/proc/sys/vm/overcommit_memory")), _read(Path("/proc/sys/kernel/panic"))],
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def again(attempt: Callable[[], object]) -> None:
    """Repeat the attempt until it succeeds."""
    until(attempt, "the attempt succeeds", seconds=90, pause=0.5, retried=(AssertionError,))
