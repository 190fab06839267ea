"""An ordinary kubectl against the face, over TLS."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import run

import pytest

from provisioner.embedded import credentials
from provisioner.embedded.face.serving import serve
from provisioner.embedded.settings import UpSettings, prepare
from provisioner.embedded.store.store import Store
from tests import programs

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
    """A kubectl that talks to a server in a thread of its own and knows no other cluster."""
    paths = UpSettings(state=str(tmp_path / "state")).paths
    prepare(paths)
    shown = credentials.ensure(paths)
    store = Store(paths.database)
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serving() -> None:
        loops.append(asyncio.get_running_loop())
        async with serve(store, port=0, tls=shown.server_context(), token=shown.token) as port:
            credentials.write_kubeconfig(paths, shown, port=port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serving()))
    thread.start()
    assert ready.wait(20)
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(paths.kubeconfig)}

    def call(*arguments: str, text: str = "", code: int = 0) -> str:
        done = run(
            [programs.kubectl(), "--request-timeout=20s", *arguments],
            input=text, text=True, capture_output=True, env=environment, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + (done.stderr if code else "")

    yield call
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()
    store.close()


@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_kubectl_is_at_home(kubectl: Kubectl) -> None:
    """Apply, get, scale, label, patch and a delete that waits work as with any cluster."""
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
