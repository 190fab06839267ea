"""Tests of garbage collector, protection and namespaces on the real embedded API server."""

import asyncio

from provisioner.model.kinds import (
    CLAIM,
    NAMESPACE,
    POD,
    SERVICE,
    STATEFUL_SET,
    VOLUME,
    Json,
)
from tests.unit.provisioner.embedded.controlplane.harness import Harness


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
    await harness.until(lambda: harness.exists("web-0"), "the pod is created")
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
    await harness.until(lambda: harness.exists("web-0"), "the pod is created")
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
    await harness.until(lambda: harness.exists("web-0"), "the pod is created")
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
    await harness.until(lambda: harness.exists("web-0"), "the pod is created")
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
