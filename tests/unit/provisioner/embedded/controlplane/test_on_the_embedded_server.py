"""Scheduler, garbage collector, protection and namespaces, on the real embedded API server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.embedded.controlplane import scheduler, workload_controllers
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane
from provisioner.kube.errors import NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import (
    CLAIM,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
    Json,
    Kind,
)
from tests.unit.provisioner.embedded.controlplane.sets import stateful_set


class World:
    """A server with the workload controllers, and nobody who binds claims or mounts volumes."""

    def __init__(self, transport: KubeTransport) -> None:
        self.api = transport

    async def until(self, check: Callable[[], Awaitable[object]], what: str) -> None:
        """Ask until it is so."""
        try:
            async with asyncio.timeout(20):
                while not await check():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"waited in vain until {what}") from None

    async def gone(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        """Whether it is not there."""
        try:
            await self.api.get(kind, name, namespace if kind.namespaced else "")
        except NotFound:
            return True
        return False

    async def make_set(self, replicas: int = 2, **spec: object) -> Json:
        """The set `web`, without UIDs of its own."""
        wanted = stateful_set(replicas, podManagementPolicy="Parallel", **spec)
        del wanted["metadata"]["uid"]
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = "i"
        return await self.api.create(STATEFUL_SET, wanted)

    async def bind(self, claim: str) -> None:
        """What a binder would do for a claim."""
        volume = f"pv-{claim}"
        made = await self.api.get(CLAIM, claim, "default")
        spec: Json = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "default", "name": claim, "uid": made["metadata"]["uid"]},
            "csi": {"driver": "d", "volumeHandle": volume},
        }
        await self.api.create(VOLUME, {"metadata": {"name": volume}, "spec": spec})
        note = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}}
        await self.api.patch(CLAIM, claim, note, namespace="default")
        await self.api.patch(CLAIM, claim, {"status": {"phase": "Bound"}}, namespace="default", subresource="status")
        await self.api.patch(VOLUME, volume, {"status": {"phase": "Bound"}}, subresource="status")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Started, with one ready node and a class that waits; stopped at the end."""
    store = Store(tmp_path / "engine.db")
    async with serve(store, port=0, tls=None, token="t") as port:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "c", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
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
            yield World(transport)
        finally:
            plane.cancel()
            await asyncio.wait([plane])
            await transport.close()
    store.close()


async def test_a_pod_is_placed_once_its_claims_are_bound(world: World) -> None:
    """Until then the claims have the node's name, and the pod says that it waits."""
    await world.make_set(1)

    async def selected() -> bool:
        claim = await world.api.get(CLAIM, "www-web-0", "default")
        return bool(claim["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node") == "n")

    await world.until(lambda: world.api.list(POD), "the pod is made")
    await world.until(lambda: _true(selected), "the claim is given the node")
    assert "nodeName" not in (await world.api.get(POD, "web-0", "default"))["spec"]
    await world.bind("www-web-0")

    async def placed() -> bool:
        return bool((await world.api.get(POD, "web-0", "default"))["spec"].get("nodeName") == "n")

    await world.until(placed, "the pod is placed")


async def _true(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await check()
    except NotFound:
        return False


async def test_a_pod_without_its_claim_says_so(world: World) -> None:
    """In its condition, in upstream's words."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "missing"}}]
    spec: Json = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    await world.api.create(POD, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})

    async def said() -> bool:
        conditions = (await world.api.get(POD, "p", "default"))["status"].get("conditions") or []
        return any(each.get("message") == 'persistentvolumeclaim "missing" not found' for each in conditions)

    await world.until(said, "the condition is there")


async def test_a_cordoned_node_gets_no_pod_and_no_claim_until_it_is_uncordoned(world: World) -> None:
    """The pod says why, in condition and Event; its claim is given no node meanwhile."""
    await world.api.patch(NODE, "n", {"spec": {"unschedulable": True}})
    await world.make_set(1)
    message = "0/1 nodes are available: 1 node(s) were unschedulable."

    async def said() -> bool:
        events = (await world.api.list(EVENT)).items
        return any(each["reason"] == "FailedScheduling" and each["message"] == message for each in events)

    await world.until(said, "the Event is there")
    conditions = (await world.api.get(POD, "web-0", "default"))["status"]["conditions"]
    assert [(each["status"], each["reason"]) for each in conditions if each["type"] == "PodScheduled"] == [
        ("False", "Unschedulable")
    ]
    annotations = (await world.api.get(CLAIM, "www-web-0", "default"))["metadata"].get("annotations", {})
    assert "volume.kubernetes.io/selected-node" not in annotations
    await world.api.patch(NODE, "n", {"spec": {"unschedulable": None}})

    async def selected() -> bool:
        claim = await world.api.get(CLAIM, "www-web-0", "default")
        return bool(claim["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node") == "n")

    await world.until(selected, "the claim is given the node")


async def test_the_pods_of_a_deleted_set_go_and_its_claims_stay(world: World) -> None:
    """Background deletion; claims have no owner by default."""
    await world.make_set(2)

    async def both() -> bool:
        return len((await world.api.list(POD)).items) == 2

    await world.until(both, "both pods are made")
    await world.api.delete(STATEFUL_SET, "web", namespace="default")
    await world.until(lambda: world.gone(POD, "web-1"), "the pods are collected")
    assert not await world.gone(CLAIM, "www-web-1")


async def test_orphaned_pods_stay_and_a_new_set_adopts_them(world: World) -> None:
    """--cascade=orphan, then the set applied again."""
    await world.make_set(1)
    await world.until(lambda: _there(world, "web-0"), "the pod is made")
    before = (await world.api.get(POD, "web-0", "default"))["metadata"]["uid"]
    await world.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await world.until(lambda: world.gone(STATEFUL_SET, "web"), "the set is gone")
    again = await world.make_set(1)

    async def adopted() -> bool:
        metadata = (await world.api.get(POD, "web-0", "default"))["metadata"]
        owners = [each["uid"] for each in metadata.get("ownerReferences") or []]
        return owners == [again["metadata"]["uid"]] and metadata["uid"] == before

    await world.until(adopted, "the new set has adopted the pod")


async def test_a_foreground_deletion_waits_for_what_it_owns(world: World) -> None:
    """The set is there until its pods are gone."""
    await world.make_set(1)
    await world.until(lambda: _there(world, "web-0"), "the pod is made")
    hold = {"metadata": {"finalizers": ["test/hold"]}}
    await world.api.patch(POD, "web-0", hold, namespace="default")
    await world.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Foreground")

    async def going() -> bool:
        return "deletionTimestamp" in (await world.api.get(POD, "web-0", "default"))["metadata"]

    await world.until(going, "the pod is being deleted")
    assert not await world.gone(STATEFUL_SET, "web")
    await world.api.patch(POD, "web-0", {"metadata": {"finalizers": None}}, namespace="default")
    await world.until(lambda: world.gone(STATEFUL_SET, "web"), "the set is gone")


async def test_what_has_another_owner_stays_and_forgets_the_one_that_went(world: World) -> None:
    """Also when that one waits in the foreground: it need not wait for what stays."""
    first, second = [await world.api.create(SERVICE, _service(name)) for name in ("first", "second")]
    owned = _service("owned")
    owned["metadata"]["ownerReferences"] = [_owner(first), _owner(second)]
    await world.api.create(SERVICE, owned)
    await world.api.delete(SERVICE, "first", namespace="default", propagation="Foreground")
    await world.until(lambda: world.gone(SERVICE, "first"), "the first owner is gone")

    async def forgotten() -> bool:
        metadata = (await world.api.get(SERVICE, "owned", "default"))["metadata"]
        return [each["uid"] for each in metadata["ownerReferences"]] == [second["metadata"]["uid"]]

    await world.until(forgotten, "the reference is gone")
    await world.api.delete(SERVICE, "second", namespace="default")
    await world.until(lambda: world.gone(SERVICE, "owned"), "it went with its last owner")


async def test_an_owner_that_never_was_owns_nothing_for_long(world: World) -> None:
    """A reference with the right name and another UID counts for nothing."""
    other = await world.api.create(SERVICE, _service("other"))
    owned = _service("owned")
    owned["metadata"]["ownerReferences"] = [{**_owner(other), "uid": "11111111-2222-3333-4444-555555555555"}]
    await world.api.create(SERVICE, owned)

    await world.until(lambda: world.gone(SERVICE, "owned"), "it is collected")
    assert not await world.gone(SERVICE, "other")


async def test_a_blocked_ordinal_is_told_once(world: World) -> None:
    """However often it is looked at: an Event for each look would be noise, and load."""
    pod: Json = {
        "metadata": {"name": "web-0", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await world.api.create(POD, pod)
    await world.make_set(1)

    async def told() -> list[Json]:
        events = (await world.api.list(EVENT)).items
        return [each for each in events if each["reason"] == "FailedCreate"]

    await world.until(told, "it is told")
    for number in range(5):
        note = {"metadata": {"annotations": {"look": f"again-{number}"}}}
        await world.api.patch(STATEFUL_SET, "web", note, namespace="default")
        await asyncio.sleep(0.02)
    (event,) = await told()
    assert "web-0 exists and belongs to somebody else" in event["message"]
    assert event["count"] == 1
    await world.api.delete(POD, "web-0", namespace="default", grace_seconds=0)

    async def made() -> bool:
        if await world.gone(POD, "web-0"):
            return False
        return bool((await world.api.get(POD, "web-0", "default"))["metadata"].get("ownerReferences"))

    await world.until(made, "the set's own pod is made")


def _service(name: str) -> Json:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"clusterIP": "None"}}


def _owner(service: Json) -> Json:
    metadata = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "blockOwnerDeletion": True,
    }


async def test_claims_go_with_their_set_where_the_policy_says_so(world: World) -> None:
    """whenDeleted: Delete."""
    await world.make_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"})

    async def owned() -> bool:
        if await world.gone(CLAIM, "www-web-0"):
            return False
        return bool((await world.api.get(CLAIM, "www-web-0", "default"))["metadata"].get("ownerReferences"))

    await world.until(owned, "the claim has its owner")
    await world.api.delete(STATEFUL_SET, "web", namespace="default")
    await world.until(lambda: world.gone(CLAIM, "www-web-0"), "the claim is collected")


async def test_a_claim_in_use_is_protected_until_its_pod_is_gone(world: World) -> None:
    """kubernetes.io/pvc-protection."""
    await world.make_set(1)
    await world.until(lambda: _there(world, "web-0"), "the pod is made")
    await world.bind("www-web-0")

    async def placed() -> bool:
        return bool((await world.api.get(POD, "web-0", "default"))["spec"].get("nodeName"))

    await world.until(placed, "the pod is placed")
    await world.api.delete(CLAIM, "www-web-0", namespace="default")
    await asyncio.sleep(0.2)
    assert not await world.gone(CLAIM, "www-web-0")
    await world.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await world.until(lambda: world.gone(STATEFUL_SET, "web"), "the set is gone")
    await world.api.delete(POD, "web-0", namespace="default", grace_seconds=0)
    await world.until(lambda: world.gone(CLAIM, "www-web-0"), "the claim is gone")


async def test_a_bound_volume_is_protected(world: World) -> None:
    """kubernetes.io/pv-protection."""
    await world.make_set(1)
    await world.until(lambda: _there(world, "web-0"), "the pod is made")
    await world.bind("www-web-0")
    await world.api.delete(VOLUME, "pv-www-web-0")
    await asyncio.sleep(0.2)
    assert not await world.gone(VOLUME, "pv-www-web-0")
    await world.api.patch(VOLUME, "pv-www-web-0", {"status": {"phase": "Released"}}, subresource="status")
    await world.until(lambda: world.gone(VOLUME, "pv-www-web-0"), "the volume is gone")


async def test_a_deleted_namespace_takes_everything_along(world: World) -> None:
    """And goes last."""
    await world.api.create(NAMESPACE, {"metadata": {"name": "shop"}})
    service: Json = {"metadata": {"name": "s", "namespace": "shop"}, "spec": {"clusterIP": "None"}}
    await world.api.create(SERVICE, service)
    await world.api.delete(NAMESPACE, "shop")
    await world.until(lambda: world.gone(NAMESPACE, "shop"), "the namespace is gone")
    assert await world.gone(SERVICE, "s", "shop")


async def _there(world: World, pod: str) -> bool:
    return not await world.gone(POD, pod)


EPHEMERAL: Json = {
    "metadata": {"name": "db", "namespace": "default"},
    "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [
            {
                "name": "data",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "metadata": {"labels": {"a": "b"}},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "storageClassName": "fast",
                            "resources": {"requests": {"storage": "1Gi"}},
                        },
                    }
                },
            }
        ],
    },
}


async def test_the_claim_of_an_ephemeral_volume_comes_and_goes_with_its_pod(world: World) -> None:
    """It has the labels of its template and the pod as its controller."""
    pod = await world.api.create(POD, EPHEMERAL)

    async def made() -> bool:
        return not await world.gone(CLAIM, "db-data")

    await world.until(made, "the claim is created")
    metadata = (await world.api.get(CLAIM, "db-data", "default"))["metadata"]
    assert metadata["labels"] == {"a": "b"}
    assert [(each["uid"], each["controller"]) for each in metadata["ownerReferences"]] == [
        (pod["metadata"]["uid"], True)
    ]
    await world.bind("db-data")

    async def placed() -> bool:
        return bool((await world.api.get(POD, "db", "default"))["spec"].get("nodeName"))

    await world.until(placed, "the pod is placed")
    await world.api.delete(POD, "db", namespace="default", grace_seconds=0)
    await world.until(lambda: world.gone(CLAIM, "db-data"), "the claim is gone")


async def test_a_pod_waits_while_the_claim_of_its_ephemeral_volume_is_another_ones(world: World) -> None:
    """It is not placed, its condition and an Event say so, and it goes on when that claim is gone."""
    template = EPHEMERAL["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]
    await world.api.create(CLAIM, {"metadata": {"name": "db-data", "namespace": "default"}, "spec": template["spec"]})
    await world.bind("db-data")
    await world.api.create(POD, EPHEMERAL)

    async def told() -> bool:
        events = (await world.api.list(EVENT)).items
        words = [each["message"] for each in events if each["reason"] in ("FailedBinding", "FailedScheduling")]
        return len([each for each in words if "was not created for this pod" in each]) == 2

    await world.until(told, "the pod says what it waits for")
    assert "nodeName" not in (await world.api.get(POD, "db", "default"))["spec"]
    await world.api.delete(CLAIM, "db-data", namespace="default")

    async def owned() -> bool:
        return bool((await world.api.get(CLAIM, "db-data", "default"))["metadata"].get("ownerReferences"))

    await world.until(lambda: _true(owned), "a claim of its own is created")


async def test_a_new_claim_of_a_set_that_deletes_its_claims_is_owned_from_the_start(world: World) -> None:
    """A set that is deleted right after it was made takes its claims along."""
    made = await world.make_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})

    async def there() -> bool:
        return not await world.gone(CLAIM, "www-web-0")

    await world.until(there, "the claim is created")
    metadata = (await world.api.get(CLAIM, "www-web-0", "default"))["metadata"]
    assert [each["uid"] for each in metadata["ownerReferences"]] == [made["metadata"]["uid"]]
    assert [each["operation"] for each in metadata["managedFields"] if "f:ownerReferences" in str(each)] != []


async def test_a_pod_that_waits_long_for_its_volumes_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its condition and an Event, with the claims by name."""
    monkeypatch.setattr(scheduler, "QUIET_SECONDS", 0.0)
    await world.make_set(1)

    async def told() -> bool:
        conditions = (await world.api.get(POD, "web-0", "default")).get("status", {}).get("conditions") or []
        events = [
            each["message"] for each in (await world.api.list(EVENT)).items if each["reason"] == "FailedScheduling"
        ]
        return any("waiting for the volume of 'www-web-0'" in each for each in events) and any(
            each["type"] == "PodScheduled" and "'www-web-0'" in each["message"] for each in conditions
        )

    await world.until(lambda: _true(told), "the pod says what it waits for")
