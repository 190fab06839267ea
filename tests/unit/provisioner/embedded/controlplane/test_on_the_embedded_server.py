"""Tests of scheduler, garbage collector, protection and namespaces on the real embedded API server."""

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
from tests.until import until_async


class Harness:
    """An API server with the workload controllers, without a binder and a kubelet."""

    def __init__(self, transport: KubeTransport) -> None:
        self.api = transport

    async def until(self, check: Callable[[], Awaitable[object]], what: str) -> None:
        """Poll the check until it is true; fail after 20 seconds."""
        await until_async(check, what, seconds=20)

    async def deleted(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        """Report whether the object does not exist."""
        try:
            await self.api.get(kind, name, namespace if kind.namespaced else "")
        except NotFound:
            return True
        return False

    async def create_set(self, replicas: int = 2, **spec: object) -> Json:
        """Create the StatefulSet `web`, with the UID that the server assigns."""
        desired = stateful_set(replicas, podManagementPolicy="Parallel", **spec)
        del desired["metadata"]["uid"]
        desired["spec"]["template"]["spec"]["containers"][0]["image"] = "i"
        return await self.api.create(STATEFUL_SET, desired)

    async def bind(self, claim: str) -> None:
        """Bind the claim to a new volume, as a binder would."""
        volume = f"pv-{claim}"
        found = await self.api.get(CLAIM, claim, "default")
        spec: Json = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "default", "name": claim, "uid": found["metadata"]["uid"]},
            "csi": {"driver": "d", "volumeHandle": volume},
        }
        await self.api.create(VOLUME, {"metadata": {"name": volume}, "spec": spec})
        bind = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}}
        await self.api.patch(CLAIM, claim, bind, namespace="default")
        await self.api.patch(CLAIM, claim, {"status": {"phase": "Bound"}}, namespace="default", subresource="status")
        await self.api.patch(VOLUME, volume, {"status": {"phase": "Bound"}}, subresource="status")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """A running harness with one ready node and a default class of WaitForFirstConsumer."""
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
            yield Harness(transport)
        finally:
            plane.cancel()
            await asyncio.wait([plane])
            await transport.close()
    store.close()


async def test_a_pod_is_scheduled_once_its_claims_are_bound(harness: Harness) -> None:
    """Before that, its claims get the selected node, and the pod has no node."""
    await harness.create_set(1)

    async def selected() -> bool:
        claim = await harness.api.get(CLAIM, "www-web-0", "default")
        return bool(claim["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node") == "n")

    await harness.until(lambda: harness.api.list(POD), "the pod is created")
    await harness.until(lambda: _true(selected), "the claim has the selected node")
    assert "nodeName" not in (await harness.api.get(POD, "web-0", "default"))["spec"]
    await harness.bind("www-web-0")

    async def scheduled() -> bool:
        return bool((await harness.api.get(POD, "web-0", "default"))["spec"].get("nodeName") == "n")

    await harness.until(scheduled, "the pod is scheduled")


async def _true(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await check()
    except NotFound:
        return False


async def test_a_pod_without_its_claim_reports_it(harness: Harness) -> None:
    """Its condition has kube-scheduler's message."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "missing"}}]
    spec: Json = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    await harness.api.create(POD, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})

    async def reported() -> bool:
        conditions = (await harness.api.get(POD, "p", "default"))["status"].get("conditions") or []
        return any(each.get("message") == 'persistentvolumeclaim "missing" not found' for each in conditions)

    await harness.until(reported, "the pod has the condition")


async def test_a_cordoned_node_gets_no_pod_and_no_claim_until_it_is_uncordoned(harness: Harness) -> None:
    """The pod's condition and an Event have the reason; its claim has no selected node meanwhile."""
    await harness.api.patch(NODE, "n", {"spec": {"unschedulable": True}})
    await harness.create_set(1)
    message = "0/1 nodes are available: 1 node(s) were unschedulable."

    async def reported() -> bool:
        events = (await harness.api.list(EVENT)).items
        return any(each["reason"] == "FailedScheduling" and each["message"] == message for each in events)

    await harness.until(reported, "the Event is recorded")
    conditions = (await harness.api.get(POD, "web-0", "default"))["status"]["conditions"]
    assert [(each["status"], each["reason"]) for each in conditions if each["type"] == "PodScheduled"] == [
        ("False", "Unschedulable")
    ]
    annotations = (await harness.api.get(CLAIM, "www-web-0", "default"))["metadata"].get("annotations", {})
    assert "volume.kubernetes.io/selected-node" not in annotations
    await harness.api.patch(NODE, "n", {"spec": {"unschedulable": None}})

    async def selected() -> bool:
        claim = await harness.api.get(CLAIM, "www-web-0", "default")
        return bool(claim["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node") == "n")

    await harness.until(selected, "the claim has the selected node")


async def test_the_pods_of_a_deleted_set_are_deleted_and_its_claims_stay(harness: Harness) -> None:
    """The deletion is in the background, and claims have no owner by default."""
    await harness.create_set(2)

    async def both() -> bool:
        return len((await harness.api.list(POD)).items) == 2

    await harness.until(both, "both pods are created")
    await harness.api.delete(STATEFUL_SET, "web", namespace="default")
    await harness.until(lambda: harness.deleted(POD, "web-1"), "the pods are deleted")
    assert not await harness.deleted(CLAIM, "www-web-1")


async def test_orphaned_pods_stay_and_a_new_set_adopts_them(harness: Harness) -> None:
    """A set deleted with --cascade=orphan and applied again has the same pods."""
    await harness.create_set(1)
    await harness.until(lambda: _exists(harness, "web-0"), "the pod is created")
    before = (await harness.api.get(POD, "web-0", "default"))["metadata"]["uid"]
    await harness.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await harness.until(lambda: harness.deleted(STATEFUL_SET, "web"), "the set is deleted")
    again = await harness.create_set(1)

    async def adopted() -> bool:
        metadata = (await harness.api.get(POD, "web-0", "default"))["metadata"]
        owners = [each["uid"] for each in metadata.get("ownerReferences") or []]
        return owners == [again["metadata"]["uid"]] and metadata["uid"] == before

    await harness.until(adopted, "the new set has adopted the pod")


async def test_a_foreground_deletion_waits_for_the_dependents(harness: Harness) -> None:
    """The set exists until its pods are deleted."""
    await harness.create_set(1)
    await harness.until(lambda: _exists(harness, "web-0"), "the pod is created")
    finalizer = {"metadata": {"finalizers": ["test/block"]}}
    await harness.api.patch(POD, "web-0", finalizer, namespace="default")
    await harness.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Foreground")

    async def deleting() -> bool:
        return "deletionTimestamp" in (await harness.api.get(POD, "web-0", "default"))["metadata"]

    await harness.until(deleting, "the pod is being deleted")
    assert not await harness.deleted(STATEFUL_SET, "web")
    await harness.api.patch(POD, "web-0", {"metadata": {"finalizers": None}}, namespace="default")
    await harness.until(lambda: harness.deleted(STATEFUL_SET, "web"), "the set is deleted")


async def test_an_object_with_another_owner_stays_and_loses_the_reference_to_the_deleted_one(harness: Harness) -> None:
    """A foreground deletion of one owner does not wait for an object that another one owns."""
    first, second = [await harness.api.create(SERVICE, _service(name)) for name in ("first", "second")]
    owned = _service("owned")
    owned["metadata"]["ownerReferences"] = [_owner(first), _owner(second)]
    await harness.api.create(SERVICE, owned)
    await harness.api.delete(SERVICE, "first", namespace="default", propagation="Foreground")
    await harness.until(lambda: harness.deleted(SERVICE, "first"), "the first owner is deleted")

    async def removed() -> bool:
        metadata = (await harness.api.get(SERVICE, "owned", "default"))["metadata"]
        return [each["uid"] for each in metadata["ownerReferences"]] == [second["metadata"]["uid"]]

    await harness.until(removed, "the reference is removed")
    await harness.api.delete(SERVICE, "second", namespace="default")
    await harness.until(lambda: harness.deleted(SERVICE, "owned"), "the object is deleted with its last owner")


async def test_an_object_whose_owner_does_not_exist_is_deleted(harness: Harness) -> None:
    """A reference with the right name and another UID is not an owner."""
    other = await harness.api.create(SERVICE, _service("other"))
    owned = _service("owned")
    owned["metadata"]["ownerReferences"] = [{**_owner(other), "uid": "11111111-2222-3333-4444-555555555555"}]
    await harness.api.create(SERVICE, owned)

    await harness.until(lambda: harness.deleted(SERVICE, "owned"), "the object is deleted")
    assert not await harness.deleted(SERVICE, "other")


async def test_a_blocked_ordinal_is_reported_once(harness: Harness) -> None:
    """Reconciling the set again records no further Event."""
    pod: Json = {
        "metadata": {"name": "web-0", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await harness.api.create(POD, pod)
    await harness.create_set(1)

    async def reported() -> list[Json]:
        events = (await harness.api.list(EVENT)).items
        return [each for each in events if each["reason"] == "FailedCreate"]

    await harness.until(reported, "the Event is recorded")
    for number in range(5):
        patch = {"metadata": {"annotations": {"trigger": f"{number}"}}}
        await harness.api.patch(STATEFUL_SET, "web", patch, namespace="default")
        await asyncio.sleep(0.02)
    (event,) = await reported()
    assert "web-0 exists and is not owned by this set" in event["message"]
    assert event["count"] == 1
    await harness.api.delete(POD, "web-0", namespace="default", grace_seconds=0)

    async def created() -> bool:
        if await harness.deleted(POD, "web-0"):
            return False
        return bool((await harness.api.get(POD, "web-0", "default"))["metadata"].get("ownerReferences"))

    await harness.until(created, "the set's own pod is created")


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


async def test_claims_are_deleted_with_their_set_where_the_policy_is_delete(harness: Harness) -> None:
    """With whenDeleted: Delete the set owns its claims."""
    await harness.create_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"})

    async def owned() -> bool:
        if await harness.deleted(CLAIM, "www-web-0"):
            return False
        return bool((await harness.api.get(CLAIM, "www-web-0", "default"))["metadata"].get("ownerReferences"))

    await harness.until(owned, "the claim has its owner")
    await harness.api.delete(STATEFUL_SET, "web", namespace="default")
    await harness.until(lambda: harness.deleted(CLAIM, "www-web-0"), "the claim is deleted")


async def test_a_claim_in_use_is_protected_until_its_pod_is_deleted(harness: Harness) -> None:
    """The finalizer kubernetes.io/pvc-protection stays while a pod uses the claim."""
    await harness.create_set(1)
    await harness.until(lambda: _exists(harness, "web-0"), "the pod is created")
    await harness.bind("www-web-0")

    async def scheduled() -> bool:
        return bool((await harness.api.get(POD, "web-0", "default"))["spec"].get("nodeName"))

    await harness.until(scheduled, "the pod is scheduled")
    await harness.api.delete(CLAIM, "www-web-0", namespace="default")
    await asyncio.sleep(0.2)
    assert not await harness.deleted(CLAIM, "www-web-0")
    await harness.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await harness.until(lambda: harness.deleted(STATEFUL_SET, "web"), "the set is deleted")
    await harness.api.delete(POD, "web-0", namespace="default", grace_seconds=0)
    await harness.until(lambda: harness.deleted(CLAIM, "www-web-0"), "the claim is deleted")


async def test_a_bound_volume_is_protected(harness: Harness) -> None:
    """The finalizer kubernetes.io/pv-protection stays while the volume is bound."""
    await harness.create_set(1)
    await harness.until(lambda: _exists(harness, "web-0"), "the pod is created")
    await harness.bind("www-web-0")
    await harness.api.delete(VOLUME, "pv-www-web-0")
    await asyncio.sleep(0.2)
    assert not await harness.deleted(VOLUME, "pv-www-web-0")
    await harness.api.patch(VOLUME, "pv-www-web-0", {"status": {"phase": "Released"}}, subresource="status")
    await harness.until(lambda: harness.deleted(VOLUME, "pv-www-web-0"), "the volume is deleted")


async def test_a_namespace_is_deleted_with_all_its_objects(harness: Harness) -> None:
    """The namespace is deleted after its objects."""
    await harness.api.create(NAMESPACE, {"metadata": {"name": "shop"}})
    service: Json = {"metadata": {"name": "s", "namespace": "shop"}, "spec": {"clusterIP": "None"}}
    await harness.api.create(SERVICE, service)
    await harness.api.delete(NAMESPACE, "shop")
    await harness.until(lambda: harness.deleted(NAMESPACE, "shop"), "the namespace is deleted")
    assert await harness.deleted(SERVICE, "s", "shop")


async def _exists(harness: Harness, pod: str) -> bool:
    return not await harness.deleted(POD, pod)


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


async def test_the_claim_of_an_ephemeral_volume_is_created_and_deleted_with_its_pod(harness: Harness) -> None:
    """It has the labels of its template and the pod as its controller."""
    pod = await harness.api.create(POD, EPHEMERAL)

    async def created() -> bool:
        return not await harness.deleted(CLAIM, "db-data")

    await harness.until(created, "the claim is created")
    metadata = (await harness.api.get(CLAIM, "db-data", "default"))["metadata"]
    assert metadata["labels"] == {"a": "b"}
    assert [(each["uid"], each["controller"]) for each in metadata["ownerReferences"]] == [
        (pod["metadata"]["uid"], True)
    ]
    await harness.bind("db-data")

    async def scheduled() -> bool:
        return bool((await harness.api.get(POD, "db", "default"))["spec"].get("nodeName"))

    await harness.until(scheduled, "the pod is scheduled")
    await harness.api.delete(POD, "db", namespace="default", grace_seconds=0)
    await harness.until(lambda: harness.deleted(CLAIM, "db-data"), "the claim is deleted")


async def test_a_pod_waits_while_the_claim_of_its_ephemeral_volume_is_not_its_own(harness: Harness) -> None:
    """The pod is not scheduled, condition and Event have the reason, and it continues when that claim is deleted."""
    template = EPHEMERAL["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]
    await harness.api.create(CLAIM, {"metadata": {"name": "db-data", "namespace": "default"}, "spec": template["spec"]})
    await harness.bind("db-data")
    await harness.api.create(POD, EPHEMERAL)

    async def reported() -> bool:
        events = (await harness.api.list(EVENT)).items
        messages = [each["message"] for each in events if each["reason"] in ("FailedBinding", "FailedScheduling")]
        return len([each for each in messages if "was not created for this pod" in each]) == 2

    await harness.until(reported, "both Events are recorded")
    assert "nodeName" not in (await harness.api.get(POD, "db", "default"))["spec"]
    await harness.api.delete(CLAIM, "db-data", namespace="default")

    async def owned() -> bool:
        return bool((await harness.api.get(CLAIM, "db-data", "default"))["metadata"].get("ownerReferences"))

    await harness.until(lambda: _true(owned), "the pod's own claim is created")


async def test_a_new_claim_of_a_set_that_deletes_its_claims_is_owned_from_the_start(harness: Harness) -> None:
    """Its claims are deleted with it even when it is deleted right after its creation."""
    created = await harness.create_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})

    async def exists() -> bool:
        return not await harness.deleted(CLAIM, "www-web-0")

    await harness.until(exists, "the claim is created")
    metadata = (await harness.api.get(CLAIM, "www-web-0", "default"))["metadata"]
    assert [each["uid"] for each in metadata["ownerReferences"]] == [created["metadata"]["uid"]]
    assert [each["operation"] for each in metadata["managedFields"] if "f:ownerReferences" in str(each)] != []


async def test_a_pod_that_waits_long_for_its_volumes_reports_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its condition and an Event name the claims."""
    monkeypatch.setattr(scheduler, "REPORT_AFTER_SECONDS", 0.0)
    await harness.create_set(1)

    async def reported() -> bool:
        conditions = (await harness.api.get(POD, "web-0", "default")).get("status", {}).get("conditions") or []
        events = [
            each["message"] for each in (await harness.api.list(EVENT)).items if each["reason"] == "FailedScheduling"
        ]
        return any("waiting for the volume of 'www-web-0'" in each for each in events) and any(
            each["type"] == "PodScheduled" and "'www-web-0'" in each["message"] for each in conditions
        )

    await harness.until(lambda: _true(reported), "condition and Event name the claim")
