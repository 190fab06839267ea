"""Loss of a node under a StatefulSet, with all its controllers, on the embedded API server and two drivers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import yaml

from csi.v1 import inventory_pb2
from provisioner.controllers.claims import Claims
from provisioner.controllers.node_loss import NodeLoss
from provisioner.controllers.ownership import Ownership
from provisioner.controllers.pools import Pools
from provisioner.controllers.reclaim import Reclaim
from provisioner.drivers.client import Created, DriverClient, DriverUnavailable, VolumeRequest
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.controlplane import workload_controllers
from provisioner.embedded.controlplane.claim_binder import ClaimBinder
from provisioner.embedded.controlplane.volume_binder import VolumeBinder
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane
from provisioner.kube.errors import ApiError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import CLAIM, NODE, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json
from provisioner.model.names import LAST_NODE, RELEASED
from tests import builders
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, storage_class
from tests.unit.provisioner.embedded.controlplane.sets import stateful_set
from tests.until import until_async

OTHER = "7d3c1f6e-4b0a-4f52-9a51-2f8e0c6b7a10"
NAME = "www-web-0"


class _Driver(FakeDriver):
    """One of several drivers, for which the registry is the fence; `unavailable` when its node is off."""

    unavailable = False

    async def create_volume(self, desired: VolumeRequest, **_: Any) -> Created:
        return await super().create_volume(desired, may_have_former=False)

    def _answer(self) -> None:
        if self.unavailable:
            raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="unavailable")

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        self._answer()
        await super().record_holder(handle, labels)

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        self._answer()
        return await super().list_pools()

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.Manifest]:
        self._answer()
        return await super().list_manifests(labels)

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.TrashEntry]:
        self._answer()
        return await super().list_trash(labels)


@dataclass
class Harness:
    """An API server, the driver registry, and the events of nodes."""

    api: KubeTransport
    registry: DriverRegistry

    async def add_node(self, name: str, driver: FakeDriver) -> None:
        """Create a ready Node, and register its driver."""
        self.registry.join(name, cast(DriverClient, driver))
        await self.api.create(NODE, {"metadata": {"name": name}})
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.api.patch(NODE, name, ready, subresource="status")

    async def lose_node(self, name: str, driver: _Driver) -> None:
        """Make the driver unavailable, delete the Node, then delete its pods as kube-controller-manager does."""
        driver.unavailable = True
        await self.registry.refresh()
        await self.api.delete(NODE, name)
        for pod in (await self.api.list(POD, namespace="default")).items:
            if pod["spec"].get("nodeName") == name:
                await self.api.delete(POD, pod["metadata"]["name"], namespace="default", grace_seconds=0)

    async def create_set(self) -> None:
        """Create a StatefulSet with one pod and one claim."""
        desired = stateful_set(1)
        del desired["metadata"]["uid"]
        [template] = desired["spec"]["volumeClaimTemplates"]
        template["spec"]["storageClassName"] = "mooring-directory"
        await self.api.create(STATEFUL_SET, desired)

    async def bound(self, pool: str) -> Json:
        """Wait until the claim has a volume of this pool, and its pod a node; return the claim."""

        async def check() -> bool:
            claim = await self.api.get(CLAIM, NAME, "default")
            volume = await self.api.get(VOLUME, claim["spec"]["volumeName"])
            pod = await self.api.get(POD, "web-0", "default")
            handle: str = volume["spec"]["csi"]["volumeHandle"]
            return handle.startswith(pool) and claim["status"]["phase"] == "Bound" and "nodeName" in pod["spec"]

        await until_async(check, f"the claim has a volume of pool {pool}", retried=(ApiError, KeyError))
        return await self.api.get(CLAIM, NAME, "default")

    async def annotations(self, volume: str) -> dict[str, str]:
        """Return the volume's annotations."""
        found: dict[str, str] = (await self.api.get(VOLUME, volume))["metadata"]["annotations"]
        return found


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """The running controllers; a node counts as lost at once."""
    store = Store(tmp_path / "engine.db")
    async with serve(store, port=0, tls=None, token="t") as port:
        config = builders.kubeconfig(f"http://127.0.0.1:{port}", token="t")
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        transport = await KubeTransport.from_kubeconfig(tmp_path / "kubeconfig")
        created = storage_class(onNodeLoss="Release")
        del created["metadata"]["uid"]
        await transport.create(STORAGE_CLASS, created)
        caches = Caches()
        registry = DriverRegistry(gone=lambda node: caches[NODE].get(node) is None)
        recorder = Recorder(transport, "mooring")
        plane = ControlPlane(
            transport,
            [
                Pools(transport, caches, drivers=registry),
                Claims(transport, caches, recorder, drivers=registry, reschedules=True),
                Ownership(transport, caches, drivers=registry),
                NodeLoss(transport, caches, recorder, drivers=registry, grace=0),
                Reclaim(transport, caches, recorder, drivers=registry),
                ClaimBinder(transport, caches, recorder, drivers=cast(DriverClient, registry)),
                VolumeBinder(transport, caches, recorder),
                *workload_controllers(transport, caches, recorder),
            ],
            caches,
        )
        running = asyncio.create_task(plane.run())
        try:
            yield Harness(transport, registry)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await transport.close()
    store.close()


async def test_an_ordinal_starts_on_another_node_and_its_volume_is_retained(harness: Harness) -> None:
    """The claim is recreated with a new volume; when the disk returns, the claim keeps its new one."""
    first, second = _Driver(POOL), _Driver(OTHER)
    await harness.add_node("a", first)
    await harness.create_set()
    before = await harness.bound(POOL)
    old = before["spec"]["volumeName"]

    async def noted() -> bool:
        return (await harness.annotations(old))[LAST_NODE].startswith("a/")

    await until_async(noted, "the node is recorded", retried=(ApiError, KeyError))
    await harness.registry.refresh()
    await harness.add_node("b", second)
    await harness.lose_node("a", first)
    after = await harness.bound(OTHER)
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert RELEASED in await harness.annotations(old)

    first.unavailable = False
    await harness.add_node("a", first)

    async def recorded() -> bool:
        [manifest] = first.live.values()
        return RELEASED in manifest.holder.labels

    await until_async(recorded, "the returned driver has recorded the release", retried=(ApiError, KeyError))
    assert after["spec"] == (await harness.bound(OTHER))["spec"]
    assert (1, 1) == (len(first.live), len(second.live))


async def test_a_node_that_is_only_unavailable_keeps_its_claims(harness: Harness) -> None:
    """Its Node exists: whatever its driver and its pods do, the claim stays bound to its volume."""
    first, second = _Driver(POOL), _Driver(OTHER)
    await harness.add_node("a", first)
    await harness.create_set()
    before = await harness.bound(POOL)
    await harness.add_node("b", second)
    harness.registry.leave("a")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    await harness.api.patch(NODE, "a", unready, subresource="status")
    await harness.api.delete(POD, "web-0", namespace="default", grace_seconds=0)

    async def unplaced() -> bool:
        pod = await harness.api.get(POD, "web-0", "default")
        return "nodeName" not in pod["spec"] and bool(pod["status"]["conditions"])

    await until_async(unplaced, "the pod waits", retried=(ApiError, KeyError))
    assert before["metadata"]["uid"] == (await harness.api.get(CLAIM, NAME, "default"))["metadata"]["uid"]
    assert {} == second.live
