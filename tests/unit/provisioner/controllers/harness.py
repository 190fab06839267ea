"""A harness of the storage controllers: the embedded API server, the embedded binder, and a driver in memory."""

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
from provisioner.embedded.bootstrap import bootstrap
from provisioner.embedded.controlplane.claim_binder import ClaimBinder
from provisioner.embedded.controlplane.volume_binder import VolumeBinder
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import CLAIM, EVENT, STATEFUL_SET, VOLUME, Json, Kind
from provisioner.model.names import RELEASED, VOLUME_PROTECTION
from tests import builders
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL
from tests.until import until_async

NAME = "www-web-0"


class Harness:
    """An API server with the storage controllers, and the actions of users and admins."""

    def __init__(self, transport: KubeTransport, driver: FakeDriver) -> None:
        self.api = transport
        self.driver = driver

    async def until(self, check: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until the check succeeds."""
        await until_async(check, what)

    async def find(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """Return the object; None when it does not exist."""
        try:
            return await self.api.get(kind, name, namespace)
        except NotFound:
            return None

    async def create_claim(
        self, *, size: str = "1Gi", storage_class: str = "mooring-directory", **spec: object
    ) -> None:
        """Create the claim, with the node that a scheduler would have selected."""
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

    async def create_volume(self, name: str, *, storage_class: str = "mooring-directory", **spec: object) -> None:
        """Create a volume of our driver as an admin does: a manifest and a PersistentVolume."""
        handle = f"{POOL}.{name}"
        self.driver.live[handle] = inventory_pb2.Manifest(
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

    async def create_set(self) -> None:
        """Create the StatefulSet that the claim is an ordinal of; no controller here creates its pods."""
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
        """Wait until the claim is Bound; return the claim."""

        async def check() -> bool:
            found = await self.find(CLAIM, NAME, "default")
            return found is not None and found["status"]["phase"] == "Bound"

        await self.until(check, "the claim is Bound")
        return await self.api.get(CLAIM, NAME, "default")

    async def request(self, size: str) -> None:
        """Change the claim's request, as a user does."""
        await self.api.patch(CLAIM, NAME, {"spec": {"resources": {"requests": {"storage": size}}}}, namespace="default")

    async def capacity(self, size: str) -> Json:
        """Wait until the claim has this capacity; return its volume."""

        async def check() -> bool:
            found = await self.api.get(CLAIM, NAME, "default")
            return bool(found["status"].get("capacity") == {"storage": size})

        await self.until(check, f"the claim has {size}")
        return await self.api.get(VOLUME, (await self.bound())["spec"]["volumeName"])

    async def delete_claim(self) -> None:
        """Delete the claim, and remove its protection finalizer as the workload controllers do."""
        await self.api.delete(CLAIM, NAME, namespace="default")
        await self.api.patch(CLAIM, NAME, {"metadata": {"finalizers": None}}, namespace="default")

    async def phase(self, volume: str, phase: str) -> None:
        """Wait until the volume has the phase."""

        async def check() -> bool:
            found = await self.find(VOLUME, volume)
            return found is not None and found.get("status", {}).get("phase") == phase

        await self.until(check, f"{volume} is {phase}")

    async def deleted(self, volume: str) -> None:
        """Wait until the PersistentVolume is deleted; remove its finalizer as the workload controllers do."""

        async def check() -> bool:
            found = await self.find(VOLUME, volume)
            if found is not None and found["metadata"].get("finalizers") == [VOLUME_PROTECTION]:
                await self.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
            return found is None

        await self.until(check, f"{volume} is deleted")

    async def trashed(self, volume: str) -> None:
        """Wait until the driver has the volume in the trash."""

        async def check() -> bool:
            return f"{POOL}.{volume}" in self.driver.trash

        await self.until(check, f"{volume} is in the trash")

    async def release(self, volume: str) -> None:
        """Release the volume as `mooring release` does; wait until the driver has recorded it."""
        await self.api.patch(VOLUME, volume, {"metadata": {"annotations": {RELEASED: "2026-01-01T00:00:00Z"}}})

        async def check() -> bool:
            return RELEASED in self.driver.live[f"{POOL}.{volume}"].holder.labels

        await self.until(check, f"the driver has recorded that {volume} is released")

    async def adopt(self, volume: str) -> None:
        """Adopt the volume as `mooring adopt` does, also while another one is provisioned for the claim."""
        claim = await self.api.get(CLAIM, NAME, "default")
        patch = {"metadata": {"annotations": {RELEASED: None}}, "spec": {"claimRef": claim_ref(claim)}}
        await self.api.patch(VOLUME, volume, patch)

    async def creation_requested(self) -> str:
        """Wait until CreateVolume was called for the claim's volume; return its name."""
        name = volume_name((await self.api.get(CLAIM, NAME, "default"))["metadata"]["uid"])

        async def check() -> bool:
            return name in self.driver.creating

        await self.until(check, f"{name} is being created")
        return name

    async def event(self, reason: str) -> str:
        """Wait for an Event about the claim; return its message."""
        found: list[str] = []

        async def check() -> bool:
            events = await self.api.list(EVENT, namespace="default")
            found.extend(each["message"] for each in events.items if each["reason"] == reason)
            return bool(found)

        await self.until(check, f"there is an Event {reason}")
        return found[0]


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Harness]:
    """Run the controllers on an embedded API server."""
    store = Store(tmp_path / "engine.db")
    driver = FakeDriver()
    async with serve(store, port=0, tls=None, token="t") as port:
        config = builders.kubeconfig(f"http://127.0.0.1:{port}", token="t")
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        transport = await KubeTransport.from_kubeconfig(tmp_path / "kubeconfig")
        await bootstrap(transport, node_name="n")
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
            yield Harness(transport, driver)
        finally:
            turning.cancel()
            await asyncio.wait([turning])
            await transport.close()
    store.close()
