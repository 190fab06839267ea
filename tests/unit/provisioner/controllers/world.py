"""What the storage controllers run on in tests: the embedded API server, the embedded binder, a driver in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import yaml

from csi.v1 import inventory_pb2
from provisioner.actions.persistent_volume import claim_ref, volume_name
from provisioner.controllers.bind_race import BindRace
from provisioner.controllers.claims import Claims
from provisioner.controllers.expand import Expand
from provisioner.controllers.modify import Modify
from provisioner.controllers.ownership import Ownership
from provisioner.controllers.pools import Pools
from provisioner.controllers.reclaim import Reclaim
from provisioner.drivers.client import DriverClient
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.bootstrap import seed
from provisioner.embedded.controlplane.claim_binder import ClaimBinder
from provisioner.embedded.controlplane.volume_binder import VolumeBinder
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import CLAIM, EVENT, STATEFUL_SET, VOLUME, Json, Kind
from provisioner.model.names import RELEASED, VOLUME_PROTECTION
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL

NAME = "www-web-0"


class World:
    """A server, the storage controllers on it, and what a user would do."""

    def __init__(self, transport: KubeTransport, driver: FakeDriver) -> None:
        self.api = transport
        self.driver = driver

    async def until(self, check: Callable[[], Awaitable[bool]], what: str) -> None:
        """Ask until it is so."""
        try:
            async with asyncio.timeout(30):
                while not await check():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"waited in vain until {what}") from None

    async def find(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """The object, or None."""
        try:
            return await self.api.get(kind, name, namespace)
        except NotFound:
            return None

    async def make_claim(self, *, size: str = "1Gi", storage_class: str = "mooring-directory", **spec: object) -> None:
        """The claim, with the node that a scheduler would have chosen."""
        await self.api.create(
            CLAIM,
            {
                "metadata": {
                    "name": NAME,
                    "namespace": "default",
                    "annotations": {"volume.kubernetes.io/selected-node": "n"},
                },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": size}},
                    "storageClassName": storage_class,
                    **spec,
                },
            },
        )

    async def make_volume(self, name: str, *, storage_class: str = "mooring-directory", **spec: object) -> None:
        """A volume of our driver that an admin made, bytes and object."""
        handle = f"{POOL}.{name}"
        self.driver.living[handle] = inventory_pb2.Manifest(
            volume_id=handle, csi_name=name, pool_uuid=POOL, state="ready"
        )
        await self.api.create(
            VOLUME,
            {
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": "1Gi"},
                    "csi": {"driver": "csi.mooring.dev", "volumeHandle": handle},
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": storage_class,
                    **spec,
                },
            },
        )

    async def make_set(self) -> None:
        """The set that the claim is an ordinal of; no controller here makes its pods."""
        spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        labels = {"app": "nginx"}
        await self.api.create(
            STATEFUL_SET,
            {
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {
                    "serviceName": "nginx",
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
                    "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": spec}],
                },
            },
        )

    async def bound(self) -> Json:
        """Wait until the claim is Bound; the claim."""

        async def check() -> bool:
            found = await self.find(CLAIM, NAME, "default")
            return found is not None and found["status"]["phase"] == "Bound"

        await self.until(check, "the claim is Bound")
        return await self.api.get(CLAIM, NAME, "default")

    async def ask(self, size: str) -> None:
        """The user edits the request."""
        await self.api.patch(CLAIM, NAME, {"spec": {"resources": {"requests": {"storage": size}}}}, namespace="default")

    async def capacity(self, size: str) -> Json:
        """Wait until the claim has so much; its volume."""

        async def check() -> bool:
            found = await self.api.get(CLAIM, NAME, "default")
            return bool(found["status"].get("capacity") == {"storage": size})

        await self.until(check, f"the claim has {size}")
        return await self.api.get(VOLUME, (await self.bound())["spec"]["volumeName"])

    async def drop_claim(self) -> None:
        """Delete the claim; its protection, which the workload controllers take off, goes at once."""
        await self.api.delete(CLAIM, NAME, namespace="default")
        await self.api.patch(CLAIM, NAME, {"metadata": {"finalizers": None}}, namespace="default")

    async def phase(self, volume: str, phase: str) -> None:
        """Wait until the volume has the phase."""

        async def check() -> bool:
            found = await self.find(VOLUME, volume)
            return found is not None and found.get("status", {}).get("phase") == phase

        await self.until(check, f"{volume} is {phase}")

    async def gone(self, volume: str) -> None:
        """Wait until the object is gone; its protection, which the workload controllers take off, goes at once."""

        async def check() -> bool:
            found = await self.find(VOLUME, volume)
            if found is not None and found["metadata"].get("finalizers") == [VOLUME_PROTECTION]:
                await self.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
            return found is None

        await self.until(check, f"{volume} is gone")

    async def trashed(self, volume: str) -> None:
        """Wait until the driver has it in the trash."""

        async def check() -> bool:
            return f"{POOL}.{volume}" in self.driver.trash

        await self.until(check, f"{volume} is in the trash")

    async def release(self, volume: str) -> None:
        """As `mooring release`; wait until the driver knows."""
        await self.api.patch(VOLUME, volume, {"metadata": {"annotations": {RELEASED: "2026-01-01T00:00:00Z"}}})

        async def check() -> bool:
            return RELEASED in self.driver.living[f"{POOL}.{volume}"].holder.labels

        await self.until(check, f"the driver knows that {volume} is released")

    async def give(self, volume: str) -> None:
        """As `mooring adopt`: the volume is the claim's, whatever is being provisioned for it."""
        claim = await self.api.get(CLAIM, NAME, "default")
        patch = {"metadata": {"annotations": {RELEASED: None}}, "spec": {"claimRef": claim_ref(claim)}}
        await self.api.patch(VOLUME, volume, patch)

    async def being_made(self) -> str:
        """Wait until the driver was asked to make the claim's volume; its name."""
        name = volume_name((await self.api.get(CLAIM, NAME, "default"))["metadata"]["uid"])

        async def check() -> bool:
            return name in self.driver.making

        await self.until(check, f"{name} is being made")
        return name

    async def said(self, reason: str) -> str:
        """Wait for an Event about the claim; its message."""
        found: list[str] = []

        async def check() -> bool:
            events = await self.api.list(EVENT, namespace="default")
            found.extend(each["message"] for each in events.items if each["reason"] == reason)
            return bool(found)

        await self.until(check, f"an Event says {reason}")
        return found[0]


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[World]:
    """The controllers, running."""
    store = Store(tmp_path / "engine.db")
    driver = FakeDriver()
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
        await seed(transport, node_name="n")
        caches = Caches()
        recorder = Recorder(transport, "mooring")
        plane = ControlPlane(
            transport,
            [
                Pools(transport, caches, drivers=DriverRegistry({"n": cast(DriverClient, driver)})),
                Claims(transport, caches, recorder, drivers=driver),
                Expand(transport, caches, recorder, drivers=driver),
                Modify(transport, caches, recorder, drivers=driver),
                Ownership(transport, caches, drivers=driver),
                Reclaim(transport, caches, recorder, drivers=driver),
                BindRace(transport, caches, recorder, drivers=driver),
                ClaimBinder(transport, caches, recorder, drivers=driver),
                VolumeBinder(transport, caches, recorder),
            ],
            caches,
        )
        turning = asyncio.create_task(plane.run())
        try:
            yield World(transport, driver)
        finally:
            turning.cancel()
            await asyncio.wait([turning])
            await transport.close()
    store.close()
