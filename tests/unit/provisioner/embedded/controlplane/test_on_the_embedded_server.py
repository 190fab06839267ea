"""Tests of scheduler, sets and ephemeral volumes on the real embedded API server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from provisioner.embedded.controlplane import scheduler
from provisioner.kube.errors import NotFound
from provisioner.model.kinds import (
    CLAIM,
    EVENT,
    NODE,
    POD,
    STATEFUL_SET,
    Json,
)
from tests.unit.provisioner.embedded.controlplane.harness import Harness


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
