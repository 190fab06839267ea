"""An ordinary kubectl against the HTTP API, over TLS."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import run

import pytest

from provisioner.embedded import credentials
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.settings import UpSettings, prepare
from tests import programs

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]

Kubectl = Callable[..., str]

WEB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: nginx
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers: [{name: nginx, image: "nginx:1"}]
  volumeClaimTemplates:
  - metadata: {name: www}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: alone, labels: {app: nginx}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
"""


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[Kubectl]:
    """A kubectl whose only cluster is a server in another thread."""
    paths = UpSettings(state=str(tmp_path / "state")).paths
    prepare(paths)
    issued = credentials.ensure(paths)
    store = Store(paths.database)
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run_server() -> None:
        loops.append(asyncio.get_running_loop())
        async with serve(store, port=0, tls=issued.server_context(), token=issued.token) as port:
            credentials.write_kubeconfig(paths, issued, port=port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run_server()))
    thread.start()
    assert ready.wait(20)
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(paths.kubeconfig), "TMPDIR": str(tmp_path)}

    def call(*arguments: str, text: str = "", code: int = 0, editor: str = "false") -> str:
        done = run(
            [programs.kubectl(), "--request-timeout=20s", *arguments],
            input=text, text=True, capture_output=True, timeout=60, check=False,
            env={**environment, "EDITOR": editor},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    yield call
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()
    store.close()


def test_the_everyday_commands_work(kubectl: Kubectl) -> None:
    """Apply, get, scale, label, patch, delete and explain work as with any cluster."""
    assert kubectl("apply", "-f", "-", text=WEB).splitlines() == [
        "statefulset.apps/web created",
        "persistentvolumeclaim/alone created",
    ]
    assert "persistentvolumeclaim/alone unchanged" in kubectl("apply", "-f", "-", text=WEB)
    table = kubectl("get", "pvc", "-l", "app=nginx").split()
    assert table[:9] == [
        "NAME",
        "STATUS",
        "VOLUME",
        "CAPACITY",
        "ACCESS",
        "MODES",
        "STORAGECLASS",
        "VOLUMEATTRIBUTESCLASS",
        "AGE",
    ]
    assert table[9:11] == ["alone", "Pending"]
    kubectl("scale", "statefulset", "web", "--replicas=3")
    assert kubectl("get", "sts", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    kubectl("label", "pvc", "alone", "tier=back")
    kubectl(
        "patch",
        "sts",
        "web",
        "-p",
        '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"nginx:2"}]}}}}',
    )
    assert kubectl("get", "sts", "web", "-o", "jsonpath={..image}") == "nginx:2"
    refused = kubectl("apply", "-f", "-", text=WEB.replace("replicas:", "replicass:"), code=1)
    assert 'unknown field "spec.replicass"' in refused
    kubectl("delete", "pvc", "alone", "--wait=false")
    kubectl("patch", "pvc", "alone", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl("delete", "sts", "web")
    assert kubectl("get", "sts,pvc", "-o", "name") == ""
    assert "accessModes" in kubectl("explain", "pvc.spec")


SERVER_SIDE = ("apply", "--server-side", "-f", "-")


def test_server_side_apply_and_its_conflicts(kubectl: Kubectl) -> None:
    """A scale conflicts with the next apply, force resolves it, and labels that are no longer applied are removed."""
    assert "statefulset.apps/web serverside-applied" in kubectl(*SERVER_SIDE, text=WEB)
    kubectl("scale", "statefulset", "web", "--replicas=3", "--current-replicas=2")
    refused = kubectl(*SERVER_SIDE, text=WEB, code=1)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    kubectl(*SERVER_SIDE, "--force-conflicts", text=WEB)
    assert kubectl("get", "sts", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    kubectl(*SERVER_SIDE, "--field-manager=team", text=WEB.replace("name: alone, labels: {app: nginx}", "name: alone"))
    kubectl(*SERVER_SIDE, text=WEB.replace(", labels: {app: nginx}}", "}"))
    assert kubectl("get", "pvc", "alone", "-o", "jsonpath={.metadata.labels}") == ""
    output = kubectl("get", "sts", "web", "-o", "yaml", "--show-managed-fields")
    assert "manager: team" in output
    assert "managedFields" not in kubectl("get", "sts", "web", "-o", "yaml")


def test_the_migration_from_client_side_apply(kubectl: Kubectl) -> None:
    """A server-side apply takes over client-side applied fields without a conflict, and can remove them later."""
    kubectl("apply", "-f", "-", text=WEB)
    kubectl(*SERVER_SIDE, text=WEB.replace("replicas: 2", "replicas: 1"))
    kubectl(*SERVER_SIDE, text=WEB.replace("{name: alone, labels: {app: nginx}}", "{name: alone}"))
    assert kubectl("get", "pvc", "alone", "-o", "jsonpath={.metadata.labels}") == ""
    assert "client-side-apply" not in kubectl("get", "sts", "web", "-o", "yaml", "--show-managed-fields")


def test_differences_and_edits(kubectl: Kubectl, tmp_path: Path) -> None:
    """`diff` reports by its exit code, `edit` writes the edited object, `replace` needs the newest version."""
    kubectl(*SERVER_SIDE, text=WEB)
    kubectl("diff", "--server-side", "-f", "-", text=WEB)
    kubectl("apply", "-f", "-", text=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 1")
    for side in ((), ("--server-side",)):
        assert "+  replicas: 1" in kubectl("diff", *side, "-f", "-", text=changed, code=1)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 2/replicas: 5/' \"$1\"\n", encoding="utf-8")
    editor.chmod(0o755)
    assert "edited" in kubectl("edit", "sts", "web", editor=str(editor))
    assert kubectl("get", "sts", "web", "-o", "custom-columns=R:.spec.replicas", "--no-headers").strip() == "5"
    read = kubectl("get", "sts", "web", "-o", "yaml")
    assert "replaced" in kubectl("replace", "-f", "-", text=read.replace("replicas: 5", "replicas: 4"))
    assert "the object has been modified" in kubectl("replace", "-f", "-", text=read, code=1)
    tried = kubectl("apply", "-f", "-", "--dry-run=server", text=changed)
    assert "statefulset.apps/web configured (server dry run)" in tried
    assert kubectl("get", "sts", "web", "-o", "jsonpath={.spec.replicas}") == "4"


def test_validation_follows_the_validate_flag(kubectl: Kubectl) -> None:
    """Unknown fields are refused, dropped with a warning or dropped silently, depending on `--validate`."""
    wrong = WEB.replace("replicas:", "replicass:")
    assert 'unknown field "spec.replicass"' in kubectl("create", "-f", "-", text=wrong, code=1)
    assert 'Warning: unknown field "spec.replicass"' in kubectl("apply", "-f", "-", "--validate=warn", text=wrong)
    assert "Warning" not in kubectl("apply", "-f", "-", "--validate=ignore", text=wrong)


def test_kubectl_can_query_the_server(kubectl: Kubectl) -> None:
    """Version, resources, rights and descriptions of fields can be queried."""
    assert "Server Version: v1.37" in kubectl("version")
    assert "control plane is running at https://127.0.0.1" in kubectl("cluster-info")
    assert {"v1", "apps/v1", "storage.k8s.io/v1"} <= set(kubectl("api-versions").split())
    assert "persistentvolumeclaims" in kubectl("api-resources", "--namespaced", "-o", "name").split()
    assert "yes" in kubectl("auth", "can-i", "delete", "pv").splitlines()
    assert "system:masters" in kubectl("auth", "whoami")
    explained = kubectl("explain", "pvc.spec.resources")
    assert "requests\t<map[string]Quantity>" in explained
    assert "resources <VolumeResourceRequirements>" in explained
    assert "containerPort\t<integer> -required-" in kubectl("explain", "pod.spec.containers", "--recursive")


KINDS = (
    "namespaces", "nodes", "pods", "services", "events", "pvc", "pv", "statefulsets", "storageclasses", "csidrivers",
    "csinodes", "csistoragecapacities", "volumeattributesclasses", "leases",
)  # fmt: skip

ONE_OF_EACH = """
{apiVersion: v1, kind: Node, metadata: {name: one}}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  containers: [{name: c, image: i}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: alone}}]
---
{apiVersion: v1, kind: Service, metadata: {name: one}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Event, metadata: {name: one}, involvedObject: {apiVersion: v1, kind: PersistentVolumeClaim, name: alone, namespace: default}, reason: Waiting, message: for a reason, type: Warning}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: one}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], csi: {driver: d, volumeHandle: h}}}
---
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: one}, provisioner: p}
---
{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: one}, spec: {}}
---
{apiVersion: storage.k8s.io/v1, kind: CSINode, metadata: {name: one}, spec: {drivers: [{name: d, nodeID: node-1, topologyKeys: [t]}]}}
---
{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: one}, storageClassName: one, capacity: 1Gi}
---
{apiVersion: storage.k8s.io/v1, kind: VolumeAttributesClass, metadata: {name: one}, driverName: d, parameters: {a: b}}
---
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: one}, spec: {holderIdentity: me}}
"""


def test_every_kind_can_be_created_printed_and_described(kubectl: Kubectl) -> None:
    """Every kind can be printed in each form and described; a claim's description has its pods, and its events work."""
    kubectl("create", "-f", "-", text=WEB)
    assert kubectl("create", "-f", "-", text=ONE_OF_EACH).count("created") == 11
    for kind in KINDS:
        assert kubectl("get", kind, "-o", "wide")
    for form in ("yaml", "name"):
        found = kubectl("get", ",".join(KINDS), "-A", "-o", form)
        assert all(each in found for each in ("one", "alone"))
        assert found.count("kind: " if form == "yaml" else "/") >= len(KINDS)
    assert kubectl("describe", ",".join(KINDS)).count("Name:") >= len(KINDS)
    assert "Used By:       one" in kubectl("describe", "pvc", "alone")
    assert "for a reason" in kubectl("events", "--for", "pvc/alone")
    kubectl("label", "pv", "one", "tier=back")
    kubectl("annotate", "sc", "one", "example.dev/note=x")
    assert kubectl("get", "pv", "-l", "tier=back", "-o", "name") == "persistentvolume/one\n"
    assert kubectl("get", "pods", "--field-selector", "metadata.name=one", "-A", "--no-headers").split()[:2] == [
        "default", "one",
    ]  # fmt: skip
    kubectl("delete", "pod", "one", "--force", "--grace-period=0")
    kubectl("wait", "--for=delete", "pod/one", "--timeout=10s")
    assert "timed out" in kubectl("wait", "--for=condition=Ready", "node/one", "--timeout=1s", code=1)


def test_kubectl_creates_namespaces_and_services_with_protobuf(kubectl: Kubectl) -> None:
    """Objects that kubectl creates from its own types are sent in protobuf."""
    assert kubectl("create", "namespace", "shop") == "namespace/shop created\n"
    assert "AlreadyExists" in kubectl("create", "namespace", "shop", code=1)
    kubectl("create", "service", "clusterip", "web", "--tcp=80:http", "-n", "shop")
    found = kubectl("get", "svc", "web", "-n", "shop", "-o", "jsonpath={.spec.ports[0].targetPort}")
    assert found == "http"


@pytest.mark.limit("no-containers")
def test_commands_that_need_a_container_get_the_reason(kubectl: Kubectl) -> None:
    """Commands that need a container report that the engine starts none."""
    kubectl("create", "-f", "-", text=WEB)
    kubectl("run", "one", "--image=nginx:1")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    kubectl("create", "-f", "-", text=json.dumps(node))
    debug = ("--image=busybox:1", "--attach=false")
    for command in (
        ("logs", "one"),
        ("exec", "one", "--", "ls"),
        ("debug", "one", *debug),
        ("debug", "node/n", *debug),
    ):
        assert "starts no containers" in kubectl(*command, code=1)


@pytest.mark.limit("template-revisions")
def test_templates_have_no_revision_history(kubectl: Kubectl) -> None:
    """`rollout restart` works, `rollout history` finds nothing."""
    kubectl("create", "-f", "-", text=WEB)
    assert "restarted" in kubectl("rollout", "restart", "sts/web")
    assert "unable to find history" in kubectl("rollout", "history", "sts/web", code=1)
