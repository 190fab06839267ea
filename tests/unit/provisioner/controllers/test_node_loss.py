"""Volumes of a lost node: their annotations, the deletion of their claims, and their release, step by step."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from provisioner.actions.delete_claim import delete_claim, delete_waiting_pods
from provisioner.controllers.node_loss import NodeLoss
from provisioner.controllers.reclaim import due
from provisioner.kube.control import Done, RequeueAfter
from provisioner.kube.errors import Forbidden
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NODE, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import CLAIM_PROTECTION, LAST_NODE, LOST_SINCE, RELEASED
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import POOL, claim, node, stateful_set, storage_class, volume

KEY = ("", "pvc-c1")
GRACE = 300
LONG_AGO = "2026-01-01T00:00:00Z"


class _Drivers:
    """The drivers that report the pool."""

    def __init__(self, *reporting: str) -> None:
        self._reporting = reporting

    def reporting(self, pool: str) -> Sequence[str]:
        assert pool == POOL
        return self._reporting


class _Api(FakeApi):
    """An API server that forbids the deletion of objects of some kinds."""

    refuses: tuple[Kind, ...] = ()

    async def delete(self, kind: Kind, name: str, **options: Any) -> None:
        if kind in self.refuses:
            raise Forbidden(403, "Forbidden", f"{kind.plural} {name!r} is forbidden")
        await super().delete(kind, name, **options)


def _api(*objects: tuple[Kind, Json], release: bool = True, notes: Mapping[str, str] | None = None) -> _Api:
    """Return an API server with a bound claim, whose volume has the annotations `notes`."""
    noted = volume()
    noted["metadata"]["annotations"] |= notes or {}
    parameters = {"onNodeLoss": "Release"} if release else {}
    return _Api(
        (VOLUME, noted),
        (CLAIM, claim(phase="Bound", volumeName="pvc-c1")),
        (STORAGE_CLASS, storage_class(**parameters)),
        (STATEFUL_SET, stateful_set()),
        *objects,
    )


def _lost(*objects: tuple[Kind, Json]) -> _Api:
    """Return an API server whose volume has been lost for a long time."""
    return _api(*objects, notes={LAST_NODE: "n/node1", LOST_SINCE: LONG_AGO})


def _pod(name: str = "web-0", *, on: str = "", owner: str = "StatefulSet") -> tuple[Kind, Json]:
    spec: Json = {"volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}]}
    if on:
        spec["nodeName"] = on
    owners = [{"kind": owner, "name": "web", "uid": "s1", "controller": True}]
    return POD, {"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}, "spec": spec}


def _loss(api: FakeApi, *reporting: str) -> NodeLoss:
    return NodeLoss(api, api.caches, api.recorder, drivers=_Drivers(*reporting), grace=GRACE)


def _notes(api: FakeApi) -> dict[str, str]:
    annotations = api.all(VOLUME)[0]["metadata"]["annotations"]
    return {key: annotations[key] for key in (LAST_NODE, LOST_SINCE, RELEASED) if key in annotations}


async def test_the_node_is_recorded_while_it_exists() -> None:
    """The Node's name and UID are recorded once, on volumes that may be released later."""
    api = _api((NODE, node(POOL)))
    await _loss(api).reconcile(KEY)
    await _loss(api).reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == _notes(api)
    assert 1 == len(api.writes)


async def test_a_class_that_waits_causes_no_write() -> None:
    """By default there are neither annotations nor Events, whether the node exists or not."""
    for existing in ([(NODE, node(POOL))], []):
        api = _api(*existing, release=False)
        assert Done() == await _loss(api).reconcile(KEY)
        assert ([], []) == (api.writes, api.events)


async def test_the_loss_is_recorded_and_reported() -> None:
    """The annotation is for the next leader; the Event has what will be done."""
    api = _api(notes={LAST_NODE: "n/node1"})
    await _loss(api).reconcile(KEY)
    since = dt.datetime.fromisoformat(_notes(api)[LOST_SINCE])
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - since < dt.timedelta(minutes=1)
    [(kind, reason, message)] = api.events
    assert ("Warning", "NodeLost") == (kind, reason)
    assert "node n, which has volume pvc-c1" in message
    assert "within 300 s" in message


async def test_the_claim_is_deleted_only_after_the_grace() -> None:
    """The remaining time is computed from the annotation, whichever leader wrote it."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=100)
    api = _api(notes={LAST_NODE: "n/node1", LOST_SINCE: since.isoformat()})
    result = await _loss(api).reconcile(KEY)
    assert isinstance(result, RequeueAfter)
    assert 0 < result.seconds <= 200
    assert [] == api.writes


async def test_a_loss_recorded_in_the_future_is_recorded_again() -> None:
    """It comes from a wrong clock; the wait starts again, and is never shortened."""
    api = _api(notes={LAST_NODE: "n/node1", LOST_SINCE: "9999-01-01T00:00:00Z"})
    await _loss(api).reconcile(KEY)
    assert _notes(api)[LOST_SINCE] < "9999"


async def test_a_node_that_returns_in_time_has_lost_nothing() -> None:
    """The same holds for its disk in another node, which is then recorded."""
    returned = node(POOL)
    returned["metadata"] |= {"name": "m", "uid": "node2"}
    for existing, noted in ((node(POOL), "n/node1"), (returned, "m/node2")):
        api = _lost((NODE, existing))
        for _ in range(2):
            await _loss(api).reconcile(KEY)
        assert {LAST_NODE: noted} == _notes(api)
        assert 1 == len(api.all(CLAIM))


async def test_the_claim_is_deleted_first_and_the_volume_is_released_last() -> None:
    """While a finalizer holds the claim the volume is not released; then only the pod that waits is deleted."""
    api = _lost(_pod(), _pod("other", on="n2"), _pod("bare", owner="Job"))
    guarded = api.all(CLAIM)[0]
    guarded["metadata"]["finalizers"] = [CLAIM_PROTECTION]
    api.put(CLAIM, guarded)
    await _loss(api).reconcile(KEY)
    await _loss(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes
    assert RELEASED not in _notes(api)

    await api.patch(CLAIM, "www-web-0", {"metadata": {"finalizers": None}}, namespace="default")
    await _loss(api).reconcile(KEY)
    assert [("delete", POD.plural, "web-0")] == api.writes[2:]
    assert RELEASED not in _notes(api)

    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    assert [("patch", VOLUME.plural, "pvc-c1")] == api.writes[3:]
    assert {LAST_NODE, RELEASED} == _notes(api).keys()
    assert ["ClaimReleased", "VolumeReleased"] == [reason for _, reason, _ in api.events]
    assert "mooring adopt www-web-0 -n default --volume pvc-c1" in api.events[-1][2]


def _scratch(*objects: tuple[Kind, Json], claim_exists: bool) -> _Api:
    """Return an API server with a lost volume whose policy is Delete, and without a pod."""
    api = _lost(*objects)
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
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=_Drivers("n"), grace=GRACE)
    await loss.reconcile(KEY)
    assert not due(api.all(VOLUME)[0])

    await _loss(api, "n").reconcile(KEY)
    assert RELEASED in _notes(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_class_that_is_deleted_after_the_claim_costs_no_data() -> None:
    """I3: without a class that decides, the volume is retained."""
    api = _scratch(claim_exists=False)
    del api.objects[STORAGE_CLASS.plural, "", "mooring-directory"]
    await _loss(api).reconcile(KEY)
    assert RELEASED in _notes(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_node_that_returns_before_its_claim_was_deleted_removes_the_record() -> None:
    """A claim that its owner deletes afterwards has its volume deleted, by its policy."""
    api = _scratch((NODE, node(POOL)), claim_exists=True)
    await _loss(api, "n").reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == _notes(api)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert due(api.all(VOLUME)[0])


async def test_a_claim_that_its_set_does_not_recreate_is_not_deleted() -> None:
    """An ordinal that was scaled away keeps its claim or former volume, and has it again when the node returns."""
    api = _lost()
    api.put(STATEFUL_SET, stateful_set(replicas=0))
    await _loss(api).reconcile(KEY)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert Done() == await _loss(api).reconcile(KEY)
    assert [] == api.writes


async def test_only_the_claim_that_was_evaluated_is_deleted() -> None:
    """A claim of its name that was created since has another UID, and is not deleted."""
    api = _lost()
    evaluated = Claim.of(api.all(CLAIM)[0])
    api.put(CLAIM, claim(uid="c2"))
    await delete_claim(api, evaluated)
    assert [] == api.writes


async def test_a_claim_that_is_bound_to_another_volume_is_not_deleted() -> None:
    """I3: the volume on the lost node lost the bind race for the claim; the bound one is available."""
    api = _lost(_pod())
    api.put(CLAIM, claim(phase="Bound", volumeName="pvc-c9"))
    assert Done() == await _loss(api).reconcile(KEY)
    assert ([], []) == (api.writes, api.events)


async def test_a_pod_whose_claim_exists_is_not_deleted() -> None:
    """The claim may have been created since the decision: the pod starts with it."""
    api = _lost(_pod())
    api.put(CLAIM, claim(uid="c2"))
    assert [] == await delete_waiting_pods(api, namespace="default", claim="www-web-0")
    assert [] == api.writes


async def test_the_volume_is_not_released_for_a_claim_that_is_being_deleted() -> None:
    """It has the name of the claim, and another UID: its deletion is awaited."""
    api = _lost()
    deleting = claim(uid="c2")
    deleting["metadata"]["deletionTimestamp"] = LONG_AGO
    api.put(CLAIM, deleting)
    await _loss(api).reconcile(KEY)
    assert RELEASED not in _notes(api)


async def test_a_claim_recreated_meanwhile_is_not_deleted() -> None:
    """It has another UID: neither it nor its pod is deleted, and the old volume is released."""
    api = _lost(_pod())
    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    assert [("patch", VOLUME.plural, "pvc-c1")] == api.writes
    assert RELEASED in _notes(api)


async def test_a_released_volume_is_not_changed_again() -> None:
    """This also holds when its node returns: an admin decides what is done with it."""
    api = _lost()
    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    done = list(api.writes)
    api.put(NODE, node(POOL))
    await _loss(api).reconcile(KEY)
    assert done == api.writes


@pytest.mark.limit("deleted-node-is-lost")
async def test_a_deleted_node_counts_as_lost() -> None:
    """Its pod may still run there, which is unknown; an existing Node, ready or not, keeps its claims."""
    api = _lost(_pod("former", on="n"))
    await _loss(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes
    api = _lost(
        _pod("former", on="n"), (NODE, node() | {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    )
    await _loss(api).reconcile(KEY)
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
    behind, api = _lost(), _lost()
    api.put(*LATE[case])
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=_Drivers(), grace=GRACE)
    assert isinstance(await loss.reconcile(KEY), RequeueAfter)
    assert [] == api.writes


async def test_a_disk_that_a_driver_reports_is_not_lost() -> None:
    """This holds without a Node with its label, as for a duplicate pool, whose label is removed from both nodes."""
    api = _lost()
    await _loss(api, "m", "o").reconcile(KEY)
    assert 1 == len(api.all(CLAIM))
    assert {LAST_NODE: "n/node1"} == _notes(api)


async def test_without_the_permission_the_event_has_the_next_step() -> None:
    """It names both remedies; the deletion is retried slowly, and reported once."""
    api = _lost(_pod())
    api.refuses = (CLAIM, POD)
    loss = _loss(api)
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
    api = _lost(_pod())
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    api.refuses = (CLAIM, POD)
    await _loss(api).reconcile(KEY)
    assert ["ClaimReleased"] == [reason for _, reason, _ in api.events]
    assert "kubectl -n default delete pod web-0" in api.events[0][2]
    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    assert RELEASED in _notes(api)


@pytest.mark.limit("node-loss-sets")
async def test_a_claim_without_a_set_is_not_deleted() -> None:
    """Deleting the claim of a Deployment would be final; an Event informs its owner instead."""
    deleting = stateful_set()
    deleting["metadata"]["deletionTimestamp"] = LONG_AGO
    for sets in ([], [deleting]):
        api = _lost()
        del api.objects[STATEFUL_SET.plural, "default", "web"]
        for each in sets:
            api.put(STATEFUL_SET, each)
        await _loss(api).reconcile(KEY)
        assert [] == api.writes
        [(_, reason, message)] = api.events
        assert "ClaimRetained" == reason
        assert "no StatefulSet has it now" in message


async def test_the_claims_of_an_ordinal_are_deleted_together_or_not_at_all() -> None:
    """No pod starts with one new volume and one that waits, and the ordinal's data would be on two nodes later."""
    two = stateful_set()
    two["spec"]["volumeClaimTemplates"].append({"metadata": {"name": "logs"}, "spec": {}})
    other, logs = volume(), claim(uid="c9", volumeName="pvc-c9", storageClassName="waits")
    other["metadata"] |= {"name": "pvc-c9", "uid": "v9"}
    other["spec"]["storageClassName"] = "waits"
    logs["metadata"]["name"] = "logs-web-0"
    api = _lost((STATEFUL_SET, two), (CLAIM, logs), (VOLUME, other))
    await _loss(api).reconcile(KEY)
    assert [] == api.writes
    [(_, reason, message)] = api.events
    assert "ClaimRetained" == reason
    assert "its pod also needs claim logs-web-0" in message

    releases = storage_class(onNodeLoss="Release")
    releases["metadata"]["name"] = "waits"
    api.put(STORAGE_CLASS, releases)
    await _loss(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes


def _two_templates(*, phase: str, **parameters: str) -> tuple[_Api, Json]:
    """Return an API server whose set has a second template, whose claim is missing, and the claim's former volume."""
    retained = storage_class(**parameters)
    retained["metadata"]["name"] = "waits"
    former = volume(phase=phase, claim_uid="c8")
    former["metadata"] |= {"name": "pvc-c8", "uid": "v8"}
    former["spec"]["storageClassName"] = "waits"
    former["spec"]["claimRef"]["name"] = "logs-web-0"
    api = _lost((STATEFUL_SET, stateful_set("www", "logs")), (STORAGE_CLASS, retained), (VOLUME, former))
    return api, former


@pytest.mark.parametrize("existing", [False, True])
async def test_a_former_volume_on_the_lost_node_blocks_its_ordinal(existing: bool) -> None:
    """Its claim, missing or unbound, will wait for it, like a bound one."""
    api, _ = _two_templates(phase="Released")
    if existing:
        logs = claim(uid="c9", storageClassName="waits")
        logs["metadata"]["name"] = "logs-web-0"
        api.put(CLAIM, logs)
    await _loss(api).reconcile(KEY)
    assert [] == api.writes
    assert "its pod also needs claim logs-web-0" in api.events[0][2]


async def test_only_a_volume_that_a_claim_waits_for_blocks_its_ordinal() -> None:
    """Not a released volume, nor one of a class that releases or never adopts, nor a former one of a bound claim."""
    released, marked = _two_templates(phase="Released")
    marked["metadata"]["annotations"][RELEASED] = LONG_AGO
    released.put(VOLUME, marked)
    elsewhere, _ = _two_templates(phase="Released")
    logs, other = claim(uid="c9", phase="Bound", volumeName="pvc-c9"), volume(claim_uid="c9")
    logs["metadata"]["name"] = other["spec"]["claimRef"]["name"] = "logs-web-0"
    other["metadata"] |= {"name": "pvc-c9", "uid": "v9"}
    del other["spec"]["nodeAffinity"]
    elsewhere.put(CLAIM, logs)
    elsewhere.put(VOLUME, other)
    releases, _ = _two_templates(phase="Released", onNodeLoss="Release")
    never, _ = _two_templates(phase="Released", adopt="Never")
    for api in (released, elsewhere, releases, never):
        await _loss(api).reconcile(KEY)
        assert ("delete", CLAIM.plural, "www-web-0") == api.writes[0]


async def test_a_node_triggers_the_volumes_that_it_has_or_had() -> None:
    """They are found by its labels, and by its name in their annotations."""
    api = _api(notes={LAST_NODE: "m/x"})
    triggered = _loss(api).watches()[NODE]
    assert [KEY] == list(triggered(node(POOL)))
    assert [] == list(triggered(node()))
    assert [KEY] == list(triggered({"metadata": {"name": "m"}}))


async def test_a_claim_of_the_name_and_its_set_trigger_the_volume() -> None:
    """A recreated claim names no volume yet; a set that is scaled up recreates its ordinals."""
    api = _lost()
    triggered = _loss(api).watches()
    assert [KEY] == list(triggered[CLAIM](claim(uid="c2")))
    assert [KEY] == list(triggered[STATEFUL_SET](stateful_set(replicas=1)))
    assert [] == list(triggered[STATEFUL_SET](stateful_set(replicas=0)))
    assert [KEY] == list(triggered[STORAGE_CLASS](storage_class()))
