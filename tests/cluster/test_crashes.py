"""SIGKILL while twenty claims are being bound: all of them are bound afterwards, and the invariants hold."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.installing import wait
from tests.cluster.running import Running
from tests.cluster.sets import Json, bound, hosts, placed, rolled_out, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

CLAIMS = 20
SYSTEM = "mooring-system"
CONTROLLER = "controller --namespace=mooring-system"
DRIVER = "-m csi --endpoint=unix"


def _kill(cluster: Running, words: str) -> None:
    """Send SIGKILL to the containers' processes on each node."""
    killed = []
    for node in cluster.nodes:
        with contextlib.suppress(RuntimeError):  # no such process runs on this node
            cluster.on(node).run("pkill", "-9", "-f", "--", words)
            killed.append(node)
    assert killed, f"nothing runs that looks like {words}"


def _kubelets(cluster: Running) -> None:
    for node in cluster.nodes:
        cluster.on(node).kill("kubelet")


DEEDS: dict[str, Callable[[Running], None]] = {
    "controller": lambda cluster: _kill(cluster, CONTROLLER),
    "driver": lambda cluster: _kill(cluster, DRIVER),
    "kubelet": _kubelets,
    "kube-apiserver": lambda cluster: cluster.on("control-plane").kill("kube-apiserver"),
}


@pytest.fixture(autouse=True)
def runs_again(mooring: Running) -> Iterator[None]:
    """Wait after the test until everything that was killed runs again."""
    yield
    wait(mooring)


def _claims(cluster: Running, namespace: str) -> list[Json]:
    found: list[Json] = cluster.json("-n", namespace, "get", "pvc")["items"]
    return found


def _volumes(cluster: Running, namespace: str) -> list[Json]:
    return [
        each
        for each in cluster.json("get", "pv")["items"]
        if each["spec"].get("claimRef", {}).get("namespace") == namespace
    ]


@pytest.mark.parametrize("victim", DEEDS)
def test_twenty_claims_survive_a_kill(mooring: Running, namespace: str, victim: str) -> None:
    """I1, I2 and I5: each claim has one volume of its own, and each pod reads its own file, also after all were recreated."""
    objects = web("mooring-directory", replicas=CLAIMS, size="16Mi", podManagementPolicy="Parallel")
    mooring.apply(namespace, *objects)
    until(lambda: len(bound(mooring, namespace)) >= 3, "some claims are bound", seconds=90)
    DEEDS[victim](mooring)
    until(lambda: _all_bound(mooring, namespace), "all claims are bound", seconds=180)
    first = bound(mooring, namespace)
    assert CLAIMS == len(set(first.values()))
    assert set(first.values()) == {each["metadata"]["name"] for each in _volumes(mooring, namespace)}
    handles = [each["spec"]["csi"]["volumeHandle"] for each in _volumes(mooring, namespace)]
    assert len(handles) == len(set(handles))
    rolled_out(mooring, namespace, seconds=300)

    uids = {each["metadata"]["uid"] for each in _claims(mooring, namespace)}
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "--wait=true")
    mooring.kubectl("-n", namespace, "delete", "pvc", "--all", "--wait=false")
    mooring.kubectl("-n", namespace, "delete", "pods", "--all", "--grace-period=1", "--wait=false")
    mooring.apply(namespace, *objects)
    until(lambda: not _gone(mooring, namespace, uids), "the claims are new ones", seconds=120)
    DEEDS[victim](mooring)
    until(lambda: _all_bound(mooring, namespace), "all claims are bound again", seconds=240)
    assert first == bound(mooring, namespace)
    rolled_out(mooring, namespace, seconds=300)
    samples = (0, CLAIMS // 2, CLAIMS - 1)
    assert hosts(mooring, namespace, *samples) == {f"web-{each}": f"web-{each}" for each in samples}


def _all_bound(cluster: Running, namespace: str) -> bool:
    try:
        return len(bound(cluster, namespace)) == CLAIMS
    except AssertionError:
        return False  # the API server is still starting


def _gone(cluster: Running, namespace: str, uids: set[str]) -> set[str]:
    try:
        return uids & {each["metadata"]["uid"] for each in _claims(cluster, namespace)}
    except AssertionError:
        return uids


def test_pods_are_restarted_without_a_controller(mooring: Running, namespace: str) -> None:
    """Mounting needs kubelet and the driver only; provisioning waits until a controller runs."""
    mooring.apply(namespace, *web("mooring-loop", size="64Mi"))
    rolled_out(mooring, namespace)
    mooring.kubectl("-n", SYSTEM, "scale", "deployment/mooring-controller", "--replicas=0")
    try:
        mooring.kubectl("-n", SYSTEM, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=controller")
        _kill(mooring, DRIVER)
        mooring.kubectl("-n", namespace, "delete", "pod", "web-0")
        mooring.on(mooring.nodes[1]).kill("kubelet")
        rolled_out(mooring, namespace)
        assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
        mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=3")
        time.sleep(3)
        assert 2 == len(bound(mooring, namespace))
    finally:
        mooring.kubectl("-n", SYSTEM, "scale", "deployment/mooring-controller", "--replicas=2")
    rolled_out(mooring, namespace)
    assert 3 == len(bound(mooring, namespace))


def _restarted(cluster: Running, namespace: str, node: str) -> bool:
    pods = cluster.json("-n", namespace, "get", "pods")["items"]
    here = [each["status"]["containerStatuses"][0] for each in pods if each["spec"]["nodeName"] == node]
    return all(each["restartCount"] and each["ready"] for each in here)


def test_a_rebooted_node_has_its_volumes_again(mooring: Running, namespace: str) -> None:
    """After a power failure of a node its pools, pods and data are available again."""
    mooring.apply(namespace, *web("mooring-loop", size="64Mi", podManagementPolicy="Parallel"))
    rolled_out(mooring, namespace)
    mooring.shell(namespace, "web-0", "sync")
    mooring.shell(namespace, "web-1", "sync")
    node = mooring.nodes[1]
    assert node in placed(mooring, namespace).values()
    mooring.on(node).reboot()
    until(lambda: _restarted(mooring, namespace, node), "the node's pods run again", seconds=180)
    wait(mooring)
    assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
