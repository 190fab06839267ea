"""A node is lost under a StatefulSet, with all controllers that take part, on the embedded API server and two drivers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from provisioner.drivers.client import Created, DriverClient, DriverUnavailable
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
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, storage_class
from tests.unit.provisioner.embedded.controlplane.sets import stateful_set

OTHER = "7d3c1f6e-4b0a-4f52-9a51-2f8e0c6b7a10"
NAME = "www-web-0"


class _Driver(FakeDriver):
    """One of several, of which the fleet is the fence; `away` when its machine is off."""

    away = False

    async def create_volume(self, **asked: Any) -> Created:
        return await super().create_volume(may_have_former=False, **asked)

    def _answer(self) -> None:
        if self.away:
            raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="away")

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
class World:
    """A server, the fleet, and what befalls the nodes."""

    api: KubeTransport
    registry: DriverRegistry

    async def plug_in(self, name: str, driver: FakeDriver) -> None:
        """A node that is ready, and its driver."""
        self.registry.join(name, cast(DriverClient, driver))
        await self.api.create(NODE, {"metadata": {"name": name}})
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.api.patch(NODE, name, ready, subresource="status")

    async def lose(self, name: str, driver: _Driver) -> None:
        """It is off, its Node is deleted, and then its pods are, as by kube-controller-manager."""
        driver.away = True
        await self.registry.refresh()
        await self.api.delete(NODE, name)
        for pod in (await self.api.list(POD, namespace="default")).items:
            if pod["spec"].get("nodeName") == name:
                await self.api.delete(POD, pod["metadata"]["name"], namespace="default", grace_seconds=0)

    async def make_set(self) -> None:
        """One pod, one claim."""
        wanted = stateful_set(1)
        del wanted["metadata"]["uid"]
        [template] = wanted["spec"]["volumeClaimTemplates"]
        template["spec"]["storageClassName"] = "mooring-directory"
        await self.api.create(STATEFUL_SET, wanted)

    async def bound(self, pool: str) -> Json:
        """Wait until the claim has a volume of this pool, and its pod a node; the claim."""

        async def check() -> bool:
            claim = await self.api.get(CLAIM, NAME, "default")
            volume = await self.api.get(VOLUME, claim["spec"]["volumeName"])
            pod = await self.api.get(POD, "web-0", "default")
            handle: str = volume["spec"]["csi"]["volumeHandle"]
            return handle.startswith(pool) and claim["status"]["phase"] == "Bound" and "nodeName" in pod["spec"]

        await _until(check, f"the claim has a volume of pool {pool}")
        return await self.api.get(CLAIM, NAME, "default")

    async def annotations(self, volume: str) -> dict[str, str]:
        """The volume's."""
        found: dict[str, str] = (await self.api.get(VOLUME, volume))["metadata"]["annotations"]
        return found


async def _until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    if await check():
                        return
                except (ApiError, KeyError):
                    pass  # it is not there yet
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain until {what}") from None


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The controllers, running; a loss counts at once."""
    store = Store(tmp_path / "engine.db")
    async with serve(store, port=0, tls=None, token="t") as port:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        transport = await KubeTransport.from_kubeconfig(tmp_path / "kubeconfig")
        made = storage_class(onNodeLoss="Release")
        del made["metadata"]["uid"]
        await transport.create(STORAGE_CLASS, made)
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
            yield World(transport, registry)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await transport.close()
    store.close()


async def test_an_ordinal_starts_elsewhere_and_its_volume_is_kept(world: World) -> None:
    """The claim is made anew with a new volume; when the disk comes back nothing changes hands."""
    first, second = _Driver(POOL), _Driver(OTHER)
    await world.plug_in("a", first)
    await world.make_set()
    before = await world.bound(POOL)
    old = before["spec"]["volumeName"]

    async def noted() -> bool:
        return (await world.annotations(old))[LAST_NODE].startswith("a/")

    await _until(noted, "the node is noted")
    await world.registry.refresh()
    await world.plug_in("b", second)
    await world.lose("a", first)
    after = await world.bound(OTHER)
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert RELEASED in await world.annotations(old)

    first.away = False
    await world.plug_in("a", first)

    async def told() -> bool:
        [manifest] = first.living.values()
        return RELEASED in manifest.holder.labels

    await _until(told, "the driver that came back knows")
    assert after["spec"] == (await world.bound(OTHER))["spec"]
    assert (1, 1) == (len(first.living), len(second.living))


async def test_a_node_that_is_only_away_keeps_its_claims(world: World) -> None:
    """Its Node is there: whatever its driver and its pods do, the claim stays with its volume."""
    first, second = _Driver(POOL), _Driver(OTHER)
    await world.plug_in("a", first)
    await world.make_set()
    before = await world.bound(POOL)
    await world.plug_in("b", second)
    world.registry.leave("a")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    await world.api.patch(NODE, "a", unready, subresource="status")
    await world.api.delete(POD, "web-0", namespace="default", grace_seconds=0)

    async def unplaced() -> bool:
        pod = await world.api.get(POD, "web-0", "default")
        return "nodeName" not in pod["spec"] and bool(pod["status"]["conditions"])

    await _until(unplaced, "the pod waits")
    assert before["metadata"]["uid"] == (await world.api.get(CLAIM, NAME, "default"))["metadata"]["uid"]
    assert {} == second.living
