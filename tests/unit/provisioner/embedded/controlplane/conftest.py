"""The workload controllers on a real embedded API server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.controlplane import workload_controllers
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import (
    NODE,
    STORAGE_CLASS,
)
from tests import builders
from tests.unit.provisioner.embedded.controlplane.harness import Harness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """A running harness with one ready node and a default class of WaitForFirstConsumer."""
    store = Store(tmp_path / "engine.db")
    async with serve(store, port=0, tls=None, token="t") as port:
        config = builders.kubeconfig(f"http://127.0.0.1:{port}", token="t")
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        transport = await KubeTransport.from_kubeconfig(tmp_path / "kubeconfig")
        await transport.create(NODE, {"metadata": {"name": "n"}})
        await transport.patch(
            NODE, "n", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, subresource="status"
        )
        waits = {"metadata": {"name": "fast"}, "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"}
        waits["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}  # type: ignore[index]
        await transport.create(STORAGE_CLASS, waits)
        caches = Caches()
        controllers = workload_controllers(transport, caches, Recorder(transport, "test"))
        plane = asyncio.create_task(ControlPlane(transport, controllers, caches).run())
        try:
            yield Harness(transport)
        finally:
            plane.cancel()
            await asyncio.wait([plane])
            await transport.close()
    store.close()
