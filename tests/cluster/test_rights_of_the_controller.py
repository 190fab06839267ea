"""The permissions of the controller's service account: RBAC and the admission policies."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.actions.persistent_volume import Backing, build
from provisioner.kube.errors import ApiError
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import CLAIM, Json
from provisioner.model.names import LAST_REFUSAL, LOST_RACE_UID, SELECTED_NODE
from tests.cluster.running import Running
from tests.unit.deploy.rendering import NAMESPACE, overlay
from tests.until import until

pytestmark = pytest.mark.needs("cluster")

ACCOUNT = "--as=system:serviceaccount:mooring-system:mooring-controller"
POOL = "7d3c1f6e-4b0a-4f52-9a51-2f8e0c6b7a10"
KINDS = {
    "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}  # fmt: skip

Change = Callable[[Json], None]


@pytest.fixture(scope="module")
def rights(cluster: Running) -> Iterator[Running]:
    """Install the RBAC rules and admission policies, and remove those that did not exist before."""
    objects = [obj for (kind, _, _), obj in overlay("upstream").items() if kind in KINDS]
    installed = cluster.kubectl("get", "--ignore-not-found", "-o", "name", "namespace", NAMESPACE)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", "-f", "-", text=text)
    _wait_until_in_force(cluster)
    yield cluster
    if not installed:
        cluster.kubectl("delete", "-f", "-", text=text)


def _wait_until_in_force(cluster: Running) -> None:
    """Wait until the API server enforces the new policies."""
    wrong = {
        "pv": ["create", "-f", "-"],
        "node": ["patch", "node", cluster.nodes[0], "--type=merge", "-p", '{"metadata": {"labels": {"x": "y"}}}'],
    }
    text = json.dumps(_volume(lambda pv: pv["spec"].pop("claimRef")))
    for argv in wrong.values():
        attempt = partial(_try, cluster, *argv, text=text)
        until(lambda attempt=attempt: "denied request" in attempt(), "the policies are enforced", details=attempt)  # type: ignore[misc]


def _try(cluster: Running, *arguments: str, text: str = "") -> str:
    """Run a dry-run command as the controller; return the refusal, "" when it is allowed."""
    try:
        cluster.kubectl(*arguments, "--dry-run=server", ACCOUNT, text=text)
    except AssertionError as error:
        return str(error)
    return ""


def _volume(change: Change = lambda _: None, *, policy: str = "Retain") -> Json:
    """Return a volume as the controller writes it, with one change."""
    metadata = {"namespace": "default", "name": "data-web-0", "uid": str(uuid.uuid4()), "resourceVersion": "1"}
    claim = {
        "metadata": metadata,
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    storage_class = {"metadata": {"name": "mooring-directory"}, "reclaimPolicy": policy}
    name = f"pvc-{uuid.uuid4()}"
    backing = Backing(handle=f"{POOL}.{name}", capacity_bytes=64 << 20, context={}, fs_type="")
    volume = build(claim, storage_class, name=name, backing=backing, labels={}, identity="csi.mooring.dev")
    change(volume)
    return volume


def _set(path: str, value: Any) -> Change:
    def change(obj: Json) -> None:
        *parents, last = path.split(".")
        for each in parents:
            obj = obj[each]
        obj[last] = value

    return change


CREATED: dict[str, tuple[Change, str]] = {
    # what is made: the change, what the refusal says ("" for none)
    "as it makes them": (lambda _: None, ""),
    "a directory of the node": (
        lambda pv: pv["spec"].update(hostPath={"path": "/etc"}) or pv["spec"].pop("csi"),
        "only",
    ),
    "another driver's": (_set("spec.csi.driver", "other.example.com"), "csi.mooring.dev only"),
    "a handle that is a path": (_set("spec.csi.volumeHandle", f"{POOL}.../../etc"), "handle"),
    "with a Secret": (
        _set("spec.csi.nodePublishSecretRef", {"name": "root", "namespace": "kube-system"}),
        "no Secret",
    ),
    "without a claimRef": (lambda pv: pv["spec"].pop("claimRef"), "for which claim"),
    "for any claim of the name": (lambda pv: pv["spec"]["claimRef"].pop("uid"), "for which claim"),
    "on every node": (lambda pv: pv["spec"].pop("nodeAffinity"), "name the pool"),
    "on nodes that cluster-autoscaler imagines, too": (
        lambda pv: pv["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"].pop(),
        "cluster-autoscaler",
    ),
    "on a node without the pool": (
        _set(
            "spec.nodeAffinity.required.nodeSelectorTerms",
            [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}],
        ),
        "name the pool",
    ),
}


@pytest.mark.parametrize("case", CREATED)
def test_volumes_that_it_may_create(rights: Running, case: str) -> None:
    """It may create only volumes of the form that it creates."""
    change, refusal = CREATED[case]
    output = _try(rights, "create", "-f", "-", text=json.dumps(_volume(change)))

    assert (refusal in output and "denied request" in output) if refusal else output == ""


CHANGED: dict[str, tuple[Json, str]] = {
    "adopted by the recreated claim": ({"spec": {"claimRef": {"uid": "another", "resourceVersion": None}}}, ""),
    "marked": ({"metadata": {"annotations": {"mooring.dev/ordinal": "0"}}}, ""),
    "grown": ({"spec": {"capacity": {"storage": "1Gi"}}}, ""),
    "given to another claim": ({"spec": {"claimRef": {"name": "data-web-1"}}}, "stays with"),
    "given to another namespace": ({"spec": {"claimRef": {"namespace": "kube-system"}}}, "stays with"),
    "without its claimRef": ({"spec": {"claimRef": None}}, "stays with"),
    "without the UID of its claimRef": ({"spec": {"claimRef": {"uid": None}}}, "stays with"),
    "lost a bind race though a claim has it": (
        {"spec": {"claimRef": {"uid": LOST_RACE_UID}}},
        "did not lose a bind race",
    ),
    "kept no longer": ({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}, "reclaim policy"),
}


@pytest.fixture(scope="module")
def kept(rights: Running) -> Iterator[str]:
    """Create a volume with policy Retain; return its name."""
    volume = _volume()
    rights.kubectl("create", "-f", "-", text=json.dumps(volume))
    yield volume["metadata"]["name"]
    rights.kubectl("delete", "pv", volume["metadata"]["name"])


@pytest.mark.parametrize("case", CHANGED)
def test_volumes_that_it_may_change(rights: Running, kept: str, case: str) -> None:
    """It may adopt, annotate and expand; it may not change the claim or the reclaim policy."""
    patch, refusal = CHANGED[case]
    output = _try(rights, "patch", "pv", kept, "--type=merge", "-p", json.dumps(patch))

    assert (refusal in output and "denied request" in output) if refusal else output == ""


def test_volumes_that_it_may_delete(rights: Running, kept: str) -> None:
    """It may delete volumes with policy Delete, and retained ones with the UID of a lost bind race, which no bound volume has."""
    due = _volume(policy="Delete")
    rights.kubectl("create", "-f", "-", text=json.dumps(due))
    name = due["metadata"]["name"]
    try:
        assert "whose policy is Delete" in _try(rights, "delete", "pv", kept)
        left = _volume(lambda pv: pv["spec"]["claimRef"].pop("uid"))
        rights.kubectl("create", "-f", "-", text=json.dumps(left))
        spare = left["metadata"]["name"]
        assert "whose policy is Delete" in _try(rights, "delete", "pv", spare)
        mark = json.dumps({"spec": {"claimRef": {"uid": LOST_RACE_UID}}})
        assert _try(rights, "patch", "pv", spare, "--type=merge", "-p", mark) == ""
        rights.kubectl("patch", "pv", spare, "--type=merge", "-p", mark)
        assert _try(rights, "delete", "pv", spare) == ""
        rights.kubectl("delete", "pv", spare)
        assert _try(rights, "delete", "pv", name) == ""
    finally:
        rights.kubectl("delete", "pv", name, "--wait=false")
        rights.kubectl("patch", "pv", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


NODES: dict[str, tuple[Json, str]] = {
    "a pool comes": ({"metadata": {"labels": {f"pool.mooring.dev/{POOL}": "present"}}}, ""),
    "a pool with a value of its own": ({"metadata": {"labels": {f"pool.mooring.dev/{POOL}": "x"}}}, "only value"),
    "another label": ({"metadata": {"labels": {"tier": "gold"}}}, "those of pools"),
    "a label changed": ({"metadata": {"labels": {"kubernetes.io/os": "plan9"}}}, "those of pools"),
    "a label away": ({"metadata": {"labels": {"kubernetes.io/os": None}}}, "those of pools"),
    "a former name goes": ({"metadata": {"labels": {"topology.mooring.dev/node": None}}}, ""),
    "an annotation": ({"metadata": {"annotations": {"x": "y"}}}, "labels only"),
    "cordoned": ({"spec": {"unschedulable": True}}, "a node's spec"),
}


@pytest.mark.parametrize("case", NODES)
def test_nodes_that_it_may_change(rights: Running, case: str) -> None:
    """It may change the labels of their pools."""
    patch, refusal = NODES[case]
    output = _try(rights, "patch", "node", rights.nodes[0], "--type=merge", "-p", json.dumps(patch))

    assert (refusal in output and "denied request" in output) if refusal else output == ""


async def test_it_may_report_on_claims_and_never_bind_them(rights: Running, namespace: str, tmp_path: Path) -> None:
    """It may write their status and its own annotations and remove the selected node, and change nothing else."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "none",
        "resources": {"requests": {"storage": "1Mi"}},
    }
    metadata = {"name": "c", "annotations": {SELECTED_NODE: "n", "other": "x"}}
    rights.apply(namespace, {"apiVersion": "v1", "kind": CLAIM.name, "metadata": metadata, "spec": spec})
    transport = await KubeTransport.from_kubeconfig(_own_kubeconfig(rights, tmp_path / "kubeconfig"))
    try:
        status: Json = {"status": {"allocatedResources": {"storage": "1Mi"}}}
        await transport.patch(CLAIM, "c", status, namespace=namespace, subresource="status")
        with pytest.raises(ApiError, match="bound by kube-controller-manager"):
            await transport.patch(CLAIM, "c", {"status": {"phase": "Lost"}}, namespace=namespace, subresource="status")
        with pytest.raises(ApiError, match="changes two annotations only"):
            await transport.patch(CLAIM, "c", {"metadata": {"labels": {"x": "y"}}}, namespace=namespace)
        with pytest.raises(ApiError, match="a claim's spec"):
            await transport.patch(CLAIM, "c", {"spec": {"volumeName": "v"}}, namespace=namespace)
        refused = {LAST_REFUSAL: "{}"}
        for annotations in ({"other": None}, {"other": "y"}, {SELECTED_NODE: "m"}, {"new": "y"}, refused):
            with pytest.raises(ApiError, match="only removes the selected node"):
                await transport.patch(CLAIM, "c", {"metadata": {"annotations": annotations}}, namespace=namespace)
        back = {"metadata": {"annotations": {SELECTED_NODE: None, **refused}}}
        given_back = await transport.patch(CLAIM, "c", back, namespace=namespace)
        annotations_left = given_back["metadata"]["annotations"]
        assert SELECTED_NODE not in annotations_left
        assert annotations_left.items() >= {"other": "x", **refused}.items()
        again = {"metadata": {"annotations": {LAST_REFUSAL: '{"code":"INTERNAL"}'}}}
        await transport.patch(CLAIM, "c", again, namespace=namespace)
    finally:
        await transport.close()


def _own_kubeconfig(cluster: Running, path: Path) -> Path:
    """Write a kubeconfig with a token of the controller's account instead of the admin's certificate."""
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    token = cluster.kubectl("-n", NAMESPACE, "create", "token", "mooring-controller").strip()
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    for each in config["clusters"]:
        if authority := each["cluster"].pop(
            "certificate-authority-data", None
        ):  # otherwise the client leaves it in /tmp
            each["cluster"]["certificate-authority"] = str(path.with_suffix(".crt"))
            path.with_suffix(".crt").write_bytes(base64.b64decode(authority))
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "asked",
    ["create pods", "get secrets", "list secrets -n kube-system", "create persistentvolumeclaims",
     "update nodes --subresource=status", "get nodes --subresource=proxy", "create clusterrolebindings", "patch storageclasses"],
)  # fmt: skip
def test_what_would_give_access_to_other_objects_is_refused(rights: Running, asked: str) -> None:
    """RBAC alone refuses it."""
    rights.refused("auth", "can-i", "--quiet", *asked.split(), ACCOUNT)
