"""A lost node on a real cluster: which claims wait, which are deleted, and what the controller may delete."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.model.names import LOST_SINCE, RELEASED
from tests.cluster.installing import wait
from tests.cluster.running import IMAGE, Running
from tests.cluster.sets import Json, apply_all, bound, claim, events, placed, rolled_out, storage_class, web
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(1200)]

GRACE = 5
RIGHTS = str(DEPLOY / "components" / "release-on-node-loss" / "rights.yaml")
ACCOUNT = f"--as=system:serviceaccount:{NAMESPACE}:mooring-controller"


@pytest.fixture(scope="module", autouse=True)
def soon(mooring: Running) -> Iterator[None]:
    """Configure the controller to wait for seconds only, and create two classes."""
    release = storage_class("test-release", backend="directory", adopt="Ordinal", onNodeLoss="Release")
    apply_all(mooring, release, storage_class("test-wait", backend="directory", adopt="Ordinal"))
    argument = {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": f"--node-loss-grace={GRACE}"}
    mooring.kubectl(
        "-n", NAMESPACE, "patch", "deployment/mooring-controller", "--type=json", "-p", json.dumps([argument])
    )
    wait(mooring)
    yield
    mooring.kubectl("delete", "--ignore-not-found", "-f", RIGHTS)
    mooring.kubectl("delete", "storageclass", "test-release", "test-wait")


def _allow(cluster: Running) -> None:
    cluster.kubectl("apply", "--server-side", "-f", RIGHTS)


def _kept() -> Json:
    """Create another set, `kept`, whose class does not release claims."""
    made = web("test-wait", size="64Mi", podManagementPolicy="Parallel")[1]
    labels = {"app": "kept"}
    made["metadata"]["name"] = "kept"
    made["spec"]["selector"]["matchLabels"] = made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def _notes(cluster: Running, volume: str) -> Json:
    found: Json = cluster.json("get", "pv", volume)["metadata"].get("annotations", {})
    return found


def _ready(cluster: Running, node: str) -> str:
    """Return the node's Ready condition: True, False or Unknown, "" when there is no such Node."""
    nodes = [each for each in cluster.json("get", "nodes")["items"] if each["metadata"]["name"] == node]
    conditions = [one for each in nodes for one in each["status"].get("conditions", ()) if one["type"] == "Ready"]
    return "".join(one["status"] for one in conditions)


def _on(cluster: Running, namespace: str, node: str, stem: str) -> str:
    """Return the set's only pod on the node."""
    [found] = [pod for pod, where in placed(cluster, namespace).items() if where == node and pod.startswith(stem)]
    return found


def _marked(cluster: Running, namespace: str, pod: str) -> bool:
    """Report whether the first volume has the file that the test wrote."""
    return cluster.shell(namespace, pod, "test -e /data/mark && echo yes || echo no").strip() == "yes"


def _mooring(cluster: Running, *arguments: str) -> str:
    """Run the command `mooring` on the host."""
    argv = [str(Path(sys.executable).with_name("mooring")), *arguments, f"--kubeconfig={cluster.kubeconfig}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_claims_of_a_lost_node_are_deleted(mooring: Running, namespace: str) -> None:
    """Not while the node is only off, and not without the permission; the volume is retained, and only an admin assigns it again."""
    other, lost = mooring.nodes
    mooring.apply(namespace, *web("test-release", size="64Mi", podManagementPolicy="Parallel"))
    mooring.apply(namespace, _kept())
    rolled_out(mooring, namespace)
    mooring.kubectl("-n", namespace, "rollout", "status", "statefulset/kept", "--timeout=180s")
    pod, waits = _on(mooring, namespace, lost, "web"), _on(mooring, namespace, lost, "kept")
    mooring.shell(namespace, pod, "touch /data/mark && sync")
    before = bound(mooring, namespace)
    old = before[f"www-{pod}"]

    mooring.on(lost).power_off()
    try:
        until(lambda: _ready(mooring, lost) == "Unknown", "the node is not ready", seconds=180)
        time.sleep(2 * GRACE)
        assert LOST_SINCE not in _notes(mooring, old)

        mooring.kubectl("delete", "node", lost)
        until(
            lambda: "ClaimRetained" in events(mooring, namespace, f"www-{pod}"),
            "the claim reports the missing permission",
            seconds=180,
        )
        assert before == bound(mooring, namespace)

        _allow(mooring)
        until(lambda: placed(mooring, namespace).get(pod) == other, "the ordinal is on the other node", seconds=300)
        rolled_out(mooring, namespace)
        after = bound(mooring, namespace)
        assert {key for key in before if before[key] != after.get(key)} == {f"www-{pod}"}
        assert not _marked(mooring, namespace, pod)
        assert RELEASED in _notes(mooring, old)
        assert placed(mooring, namespace)[waits] == ""
    finally:
        mooring.on(lost).power_on()

    mooring.kubectl("-n", namespace, "rollout", "status", "statefulset/kept", "--timeout=300s")
    assert after == bound(mooring, namespace)
    assert RELEASED in _notes(mooring, old)
    _assign_again(mooring, namespace, pod, old=old, new=after[f"www-{pod}"])
    assert placed(mooring, namespace)[pod] == lost
    assert _marked(mooring, namespace, pod)
    mooring.kubectl("annotate", "pv", "--all", f"{RELEASED}-")  # so that the volumes are deleted with the namespace


def _assign_again(cluster: Running, namespace: str, pod: str, *, old: str, new: str) -> None:
    """Assign the first volume to the claim again, as an admin does."""
    cluster.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=0")
    cluster.kubectl("-n", namespace, "wait", "--for=delete", f"pod/{pod}", "--timeout=60s")
    cluster.kubectl("-n", namespace, "delete", "pvc", f"www-{pod}")
    _mooring(cluster, "release", new)
    cluster.apply(namespace, claim(f"www-{pod}", "test-release", size="64Mi"))
    _mooring(cluster, "adopt", f"www-{pod}", "-n", namespace, "--volume", old)
    until(lambda: bound(cluster, namespace).get(f"www-{pod}") == old, "the claim has the first volume")
    cluster.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=2")
    rolled_out(cluster, namespace)


def _refusal(cluster: Running, obj: Json, *, uid: str = "") -> str:
    """Return the refusal of a dry-run delete of the object by its UID, "" when it is allowed."""
    metadata = obj["metadata"]
    kind = {"Pod": "pods", "PersistentVolumeClaim": "persistentvolumeclaims"}[obj["kind"]]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}} if uid else {}
    path = f"/api/v1/namespaces/{metadata['namespace']}/{kind}/{metadata['name']}?dryRun=All"
    try:
        cluster.kubectl("delete", "--raw", path, "-f", "-", ACCOUNT, text=json.dumps(options))
    except AssertionError as error:
        return str(error)
    return ""


def test_it_may_delete_only_claims_and_pods_of_lost_nodes(mooring: Running, namespace: str) -> None:
    """It may delete claims that have a volume, and pods of sets on no node, each only by its UID."""
    _allow(mooring)
    mooring.apply(namespace, *web("test-release", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    nowhere = _kept()
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = {"there-is": "none"}
    spec = {"nodeSelector": {"there-is": "none"}, "containers": [{"name": "main", "image": IMAGE}]}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": spec}
    mooring.apply(namespace, nowhere, bare)
    until(lambda: "kept-0" in placed(mooring, namespace), "the set has its first pod")

    def refusal(kind: str, name: str, *, by_uid: bool = True) -> str:
        obj = mooring.json("-n", namespace, "get", kind, name)
        return _refusal(mooring, obj, uid=obj["metadata"]["uid"] if by_uid else "")

    until(lambda: "only by its UID" in refusal("pod", "kept-0", by_uid=False), "the policies are in force")
    assert "only by its UID" in refusal("pvc", "www-web-0", by_uid=False)
    assert "that have a volume" in refusal("pvc", "www-kept-0")
    assert "on no node" in refusal("pod", "web-0")
    assert "pods of StatefulSets" in refusal("pod", "bare")
    assert refusal("pvc", "www-web-0") == ""
    assert refusal("pod", "kept-0") == ""
