"""Volumes of a lost node: their annotations, the deletion of their claims, and their release, step by step."""

import datetime as dt

import pytest

from provisioner.actions.delete_claim import delete_claim, delete_waiting_pods
from provisioner.controllers.node_loss import NodeLoss
from provisioner.controllers.reclaim import due
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NODE, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import CLAIM_PROTECTION, LAST_NODE, LOST_SINCE, RELEASED
from tests.unit.provisioner.controllers.node_loss_harness import (
    GRACE,
    KEY,
    LONG_AGO,
    Drivers,
    RefusingApi,
    annotations,
    api_with_claim,
    api_with_loss,
    pod,
    reconciler,
)
from tests.unit.provisioner.controllers.objects import POOL, claim, node, stateful_set, storage_class


async def test_the_node_is_recorded_while_it_exists() -> None:
    """The Node's name and UID are recorded once, on volumes that may be released later."""
    api = api_with_claim((NODE, node(POOL)))
    await reconciler(api).reconcile(KEY)
    await reconciler(api).reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == annotations(api)
    assert 1 == len(api.writes)


async def test_a_class_that_waits_causes_no_write() -> None:
    """By default there are neither annotations nor Events, whether the node exists or not."""
    for existing in ([(NODE, node(POOL))], []):
        api = api_with_claim(*existing, release=False)
        assert Done() == await reconciler(api).reconcile(KEY)
        assert ([], []) == (api.writes, api.events)


async def test_the_loss_is_recorded_and_reported() -> None:
    """The annotation is for the next leader; the Event has what will be done."""
    api = api_with_claim(notes={LAST_NODE: "n/node1"})
    await reconciler(api).reconcile(KEY)
    since = dt.datetime.fromisoformat(annotations(api)[LOST_SINCE])
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - since < dt.timedelta(minutes=1)
    [(kind, reason, message)] = api.events
    assert ("Warning", "NodeLost") == (kind, reason)
    assert "node n, which has volume pvc-c1" in message
    assert "within 300 s" in message


async def test_the_claim_is_deleted_only_after_the_grace() -> None:
    """The remaining time is computed from the annotation, whichever leader wrote it."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=100)
    api = api_with_claim(notes={LAST_NODE: "n/node1", LOST_SINCE: since.isoformat()})
    result = await reconciler(api).reconcile(KEY)
    assert isinstance(result, RequeueAfter)
    assert 0 < result.seconds <= 200
    assert [] == api.writes


async def test_a_loss_recorded_in_the_future_is_recorded_again() -> None:
    """It comes from a wrong clock; the wait starts again, and is never shortened."""
    api = api_with_claim(notes={LAST_NODE: "n/node1", LOST_SINCE: "9999-01-01T00:00:00Z"})
    await reconciler(api).reconcile(KEY)
    assert annotations(api)[LOST_SINCE] < "9999"


async def test_a_node_that_returns_in_time_has_lost_nothing() -> None:
    """The same holds for its disk in another node, which is then recorded."""
    returned = node(POOL)
    returned["metadata"] |= {"name": "m", "uid": "node2"}
    for existing, noted in ((node(POOL), "n/node1"), (returned, "m/node2")):
        api = api_with_loss((NODE, existing))
        for _ in range(2):
            await reconciler(api).reconcile(KEY)
        assert {LAST_NODE: noted} == annotations(api)
        assert 1 == len(api.all(CLAIM))


async def test_the_claim_is_deleted_first_and_the_volume_is_released_last() -> None:
    """While a finalizer holds the claim the volume is not released; then only the pod that waits is deleted."""
    api = api_with_loss(pod(), pod("other", on="n2"), pod("bare", owner="Job"))
    guarded = api.all(CLAIM)[0]
    guarded["metadata"]["finalizers"] = [CLAIM_PROTECTION]
    api.put(CLAIM, guarded)
    await reconciler(api).reconcile(KEY)
    await reconciler(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes
    assert RELEASED not in annotations(api)

    await api.patch(CLAIM, "www-web-0", {"metadata": {"finalizers": None}}, namespace="default")
    await reconciler(api).reconcile(KEY)
    assert [("delete", POD.plural, "web-0")] == api.writes[2:]
    assert RELEASED not in annotations(api)

    api.put(CLAIM, claim(uid="c2"))
    await reconciler(api).reconcile(KEY)
    assert [("patch", VOLUME.plural, "pvc-c1")] == api.writes[3:]
    assert {LAST_NODE, RELEASED} == annotations(api).keys()
    assert ["ClaimReleased", "VolumeReleased"] == [reason for _, reason, _ in api.events]
    assert "mooring adopt www-web-0 -n default --volume pvc-c1" in api.events[-1][2]


def _scratch(*objects: tuple[Kind, Json], claim_exists: bool) -> RefusingApi:
    """Return an API server with a lost volume whose policy is Delete, and without a pod."""
    api = api_with_loss(*objects)
    lost = api.all(VOLUME)[0]
    lost["spec"]["persistentVolumeReclaimPolicy"] = "Delete"
    lost["status"]["phase"] = "Released"
    api.put(VOLUME, lost)
    if not claim_exists:
        del api.objects[CLAIM.plural, "default", "www-web-0"]
    return api


async def test_a_node_that_returns_after_its_claim_was_deleted_costs_no_data() -> None:
    """I3: with policy Delete and a stale cache, the volume is never due for deletion in between."""
    behind = _scratch((NODE, node(POOL)), claim_exists=True)
    api = _scratch((NODE, node(POOL)), claim_exists=False)
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=Drivers("n"), grace=GRACE)
    await loss.reconcile(KEY)
    assert not due(api.all(VOLUME)[0])

    await reconciler(api, "n").reconcile(KEY)
    assert RELEASED in annotations(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_class_that_is_deleted_after_the_claim_costs_no_data() -> None:
    """I3: without a class that decides, the volume is retained."""
    api = _scratch(claim_exists=False)
    del api.objects[STORAGE_CLASS.plural, "", "mooring-directory"]
    await reconciler(api).reconcile(KEY)
    assert RELEASED in annotations(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_node_that_returns_before_its_claim_was_deleted_removes_the_record() -> None:
    """A claim that its owner deletes afterwards has its volume deleted, by its policy."""
    api = _scratch((NODE, node(POOL)), claim_exists=True)
    await reconciler(api, "n").reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == annotations(api)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert due(api.all(VOLUME)[0])


async def test_a_claim_that_its_set_does_not_recreate_is_not_deleted() -> None:
    """An ordinal that was scaled away keeps its claim or former volume, and has it again when the node returns."""
    api = api_with_loss()
    api.put(STATEFUL_SET, stateful_set(replicas=0))
    await reconciler(api).reconcile(KEY)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert Done() == await reconciler(api).reconcile(KEY)
    assert [] == api.writes


async def test_only_the_claim_that_was_evaluated_is_deleted() -> None:
    """A claim of its name that was created since has another UID, and is not deleted."""
    api = api_with_loss()
    evaluated = Claim.of(api.all(CLAIM)[0])
    api.put(CLAIM, claim(uid="c2"))
    await delete_claim(api, evaluated)
    assert [] == api.writes


async def test_a_claim_that_is_bound_to_another_volume_is_not_deleted() -> None:
    """I3: the volume on the lost node lost the bind race for the claim; the bound one is available."""
    api = api_with_loss(pod())
    api.put(CLAIM, claim(phase="Bound", volumeName="pvc-c9"))
    assert Done() == await reconciler(api).reconcile(KEY)
    assert ([], []) == (api.writes, api.events)


async def test_a_pod_whose_claim_exists_is_not_deleted() -> None:
    """The claim may have been created since the decision: the pod starts with it."""
    api = api_with_loss(pod())
    api.put(CLAIM, claim(uid="c2"))
    assert [] == await delete_waiting_pods(api, namespace="default", claim="www-web-0")
    assert [] == api.writes


async def test_the_volume_is_not_released_for_a_claim_that_is_being_deleted() -> None:
    """It has the name of the claim, and another UID: its deletion is awaited."""
    api = api_with_loss()
    deleting = claim(uid="c2")
    deleting["metadata"]["deletionTimestamp"] = LONG_AGO
    api.put(CLAIM, deleting)
    await reconciler(api).reconcile(KEY)
    assert RELEASED not in annotations(api)


async def test_a_claim_recreated_meanwhile_is_not_deleted() -> None:
    """It has another UID: neither it nor its pod is deleted, and the old volume is released."""
    api = api_with_loss(pod())
    api.put(CLAIM, claim(uid="c2"))
    await reconciler(api).reconcile(KEY)
    assert [("patch", VOLUME.plural, "pvc-c1")] == api.writes
    assert RELEASED in annotations(api)


async def test_a_released_volume_is_not_changed_again() -> None:
    """This also holds when its node returns: an admin decides what is done with it."""
    api = api_with_loss()
    api.put(CLAIM, claim(uid="c2"))
    await reconciler(api).reconcile(KEY)
    done = list(api.writes)
    api.put(NODE, node(POOL))
    await reconciler(api).reconcile(KEY)
    assert done == api.writes


@pytest.mark.limit("deleted-node-is-lost")
async def test_a_deleted_node_counts_as_lost() -> None:
    """Its pod may still run there, which is unknown; an existing Node, ready or not, keeps its claims."""
    api = api_with_loss(pod("former", on="n"))
    await reconciler(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes
    api = api_with_loss(
        pod("former", on="n"), (NODE, node() | {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    )
    await reconciler(api).reconcile(KEY)
    assert [] == [each for each in api.writes if each[0] == "delete"]


LATE: dict[str, tuple[Kind, Json]] = {
    "the node exists": (NODE, node()),
    "a node has the pool": (NODE, node(POOL) | {"metadata": node(POOL)["metadata"] | {"name": "m", "uid": "node2"}}),
    "the class waits": (STORAGE_CLASS, storage_class()),
    "the claim is another": (CLAIM, claim(uid="c2")),
}


@pytest.mark.parametrize("case", LATE)
async def test_the_api_server_decides_when_a_cache_is_stale(case: str) -> None:
    """What the caches have not received yet keeps the claim, and the volume is reconciled again."""
    behind, api = api_with_loss(), api_with_loss()
    api.put(*LATE[case])
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=Drivers(), grace=GRACE)
    assert isinstance(await loss.reconcile(KEY), RequeueAfter)
    assert [] == api.writes


async def test_a_disk_that_a_driver_reports_is_not_lost() -> None:
    """This holds without a Node with its label, as for a duplicate pool, whose label is removed from both nodes."""
    api = api_with_loss()
    await reconciler(api, "m", "o").reconcile(KEY)
    assert 1 == len(api.all(CLAIM))
    assert {LAST_NODE: "n/node1"} == annotations(api)


async def test_without_the_permission_the_event_has_the_next_step() -> None:
    """It names both remedies; the deletion is retried slowly, and reported once."""
    api = api_with_loss(pod())
    api.refuses = (CLAIM, POD)
    loss = reconciler(api)
    for _ in range(2):
        result = await loss.reconcile(KEY)
        assert isinstance(result, RequeueAfter)
        assert result.seconds >= 60
    [(kind, reason, message)] = api.events
    assert ("Warning", "ClaimRetained") == (kind, reason)
    for word in ("pvc-c1", "node n,", "release-on-node-loss", "kubectl -n default delete pvc www-web-0"):
        assert word in message
    assert [] == api.writes


async def test_a_claim_deleted_by_hand_needs_no_permission() -> None:
    """The Event of the pod has the next step; once the claim is recreated, the volume is released."""
    api = api_with_loss(pod())
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    api.refuses = (CLAIM, POD)
    await reconciler(api).reconcile(KEY)
    assert ["ClaimReleased"] == [reason for _, reason, _ in api.events]
    assert "kubectl -n default delete pod web-0" in api.events[0][2]
    api.put(CLAIM, claim(uid="c2"))
    await reconciler(api).reconcile(KEY)
    assert RELEASED in annotations(api)


@pytest.mark.limit("node-loss-sets")
async def test_a_claim_without_a_set_is_not_deleted() -> None:
    """Deleting the claim of a Deployment would be final; an Event informs its owner instead."""
    deleting = stateful_set()
    deleting["metadata"]["deletionTimestamp"] = LONG_AGO
    for sets in ([], [deleting]):
        api = api_with_loss()
        del api.objects[STATEFUL_SET.plural, "default", "web"]
        for each in sets:
            api.put(STATEFUL_SET, each)
        await reconciler(api).reconcile(KEY)
        assert [] == api.writes
        [(_, reason, message)] = api.events
        assert "ClaimRetained" == reason
        assert "no StatefulSet has it now" in message


async def test_a_node_triggers_the_volumes_that_it_has_or_had() -> None:
    """They are found by its labels, and by its name in their annotations."""
    api = api_with_claim(notes={LAST_NODE: "m/x"})
    triggered = reconciler(api).watches()[NODE]
    assert [KEY] == list(triggered(node(POOL)))
    assert [] == list(triggered(node()))
    assert [KEY] == list(triggered({"metadata": {"name": "m"}}))


async def test_a_claim_of_the_name_and_its_set_trigger_the_volume() -> None:
    """A recreated claim names no volume yet; a set that is scaled up recreates its ordinals."""
    api = api_with_loss()
    triggered = reconciler(api).watches()
    assert [KEY] == list(triggered[CLAIM](claim(uid="c2")))
    assert [KEY] == list(triggered[STATEFUL_SET](stateful_set(replicas=1)))
    assert [] == list(triggered[STATEFUL_SET](stateful_set(replicas=0)))
    assert [KEY] == list(triggered[STORAGE_CLASS](storage_class()))
