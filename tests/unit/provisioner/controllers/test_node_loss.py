"""Volumes of a node that is gone: notes, letting go, and marking, on a server that remembers what was written."""

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
    """Those that report the pool."""

    def __init__(self, *reporting: str) -> None:
        self._reporting = reporting

    def reporting(self, pool: str) -> Sequence[str]:
        assert pool == POOL
        return self._reporting


class _Api(FakeApi):
    """One that refuses to delete objects of some kinds."""

    refuses: tuple[Kind, ...] = ()

    async def delete(self, kind: Kind, name: str, **options: Any) -> None:
        if kind in self.refuses:
            raise Forbidden(403, "Forbidden", f"{kind.plural} {name!r} is forbidden")
        await super().delete(kind, name, **options)


def _api(*objects: tuple[Kind, Json], release: bool = True, notes: Mapping[str, str] | None = None) -> _Api:
    """A bound claim and its pod; the volume has the notes."""
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
    """One whose node has been gone for long."""
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


async def test_the_node_is_written_down_while_it_is_there() -> None:
    """Once: the Node's name and UID, on volumes that may be released some day."""
    api = _api((NODE, node(POOL)))
    await _loss(api).reconcile(KEY)
    await _loss(api).reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == _notes(api)
    assert 1 == len(api.writes)


async def test_a_class_that_waits_leaves_no_trace() -> None:
    """The default: neither notes nor Events, whether the node is there or not."""
    for there in ([(NODE, node(POOL))], []):
        api = _api(*there, release=False)
        assert Done() == await _loss(api).reconcile(KEY)
        assert ([], []) == (api.writes, api.events)


async def test_the_loss_is_noted_and_told() -> None:
    """The note stays for another leader; the claim says what will come."""
    api = _api(notes={LAST_NODE: "n/node1"})
    await _loss(api).reconcile(KEY)
    since = dt.datetime.fromisoformat(_notes(api)[LOST_SINCE])
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - since < dt.timedelta(minutes=1)
    [(kind, reason, message)] = api.events
    assert ("Warning", "NodeLost") == (kind, reason)
    assert "node n, which has volume pvc-c1" in message
    assert "within 300 s" in message


async def test_the_grace_is_waited_for() -> None:
    """As long as is left of it by the note, whoever wrote that."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=100)
    api = _api(notes={LAST_NODE: "n/node1", LOST_SINCE: since.isoformat()})
    result = await _loss(api).reconcile(KEY)
    assert isinstance(result, RequeueAfter)
    assert 0 < result.seconds <= 200
    assert [] == api.writes


async def test_a_note_from_the_future_is_written_anew() -> None:
    """Some clock was wrong; the wait begins again, and is never cut short."""
    api = _api(notes={LAST_NODE: "n/node1", LOST_SINCE: "9999-01-01T00:00:00Z"})
    await _loss(api).reconcile(KEY)
    assert _notes(api)[LOST_SINCE] < "9999"


async def test_a_node_that_comes_back_in_time_has_lost_nothing() -> None:
    """Its disk in another node, too; that one is noted then."""
    back = node(POOL)
    back["metadata"] |= {"name": "m", "uid": "node2"}
    for there, noted in ((node(POOL), "n/node1"), (back, "m/node2")):
        api = _lost((NODE, there))
        for _ in range(2):
            await _loss(api).reconcile(KEY)
        assert {LAST_NODE: noted} == _notes(api)
        assert 1 == len(api.all(CLAIM))


async def test_the_claim_goes_first_and_the_mark_comes_last() -> None:
    """While a finalizer holds the claim nothing is marked; then the waiting pod goes, and nobody else; then it is made anew."""
    api = _lost(_pod(), _pod("other", on="n2"), _pod("bare", owner="Job"))
    held = api.all(CLAIM)[0]
    held["metadata"]["finalizers"] = [CLAIM_PROTECTION]
    api.put(CLAIM, held)
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


def _scratch(*objects: tuple[Kind, Json], claim_there: bool) -> _Api:
    """A lost volume whose policy is Delete, and no pod."""
    api = _lost(*objects)
    lost = api.all(VOLUME)[0]
    lost["spec"]["persistentVolumeReclaimPolicy"] = "Delete"
    lost["status"]["phase"] = "Released"
    api.put(VOLUME, lost)
    if not claim_there:
        del api.objects[CLAIM.plural, "default", "www-web-0"]
    return api


async def test_a_node_that_returns_after_its_claim_went_costs_no_data() -> None:
    """I3: policy Delete; at no time between the two, and on no stale word, is the volume due for the trash."""
    behind = _scratch((NODE, node(POOL)), claim_there=True)
    api = _scratch((NODE, node(POOL)), claim_there=False)
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=_Drivers("n"), grace=GRACE)
    await loss.reconcile(KEY)
    assert not due(api.all(VOLUME)[0])

    await _loss(api, "n").reconcile(KEY)
    assert RELEASED in _notes(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_class_that_is_deleted_after_its_claim_went_costs_no_data() -> None:
    """I3: nobody is left to say that the volume is kept, and it is."""
    api = _scratch(claim_there=False)
    del api.objects[STORAGE_CLASS.plural, "", "mooring-directory"]
    await _loss(api).reconcile(KEY)
    assert RELEASED in _notes(api)
    assert not due(api.all(VOLUME)[0])


async def test_a_node_that_returns_before_its_claim_went_ends_the_exception() -> None:
    """What its owner deletes afterwards goes to the trash, as its policy says."""
    api = _scratch((NODE, node(POOL)), claim_there=True)
    await _loss(api, "n").reconcile(KEY)
    assert {LAST_NODE: "n/node1"} == _notes(api)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert due(api.all(VOLUME)[0])


async def test_what_nobody_wants_back_stays_as_it_is() -> None:
    """An ordinal that was scaled away keeps its claim, or its former volume, and finds it should the node return first."""
    api = _lost()
    api.put(STATEFUL_SET, stateful_set(replicas=0))
    await _loss(api).reconcile(KEY)
    del api.objects[CLAIM.plural, "default", "www-web-0"]
    assert Done() == await _loss(api).reconcile(KEY)
    assert [] == api.writes


async def test_only_the_claim_that_was_judged_is_deleted() -> None:
    """One of its name that came since the last look has another UID, and is not touched."""
    api = _lost()
    judged = Claim.of(api.all(CLAIM)[0])
    api.put(CLAIM, claim(uid="c2"))
    await delete_claim(api, judged)
    assert [] == api.writes


async def test_a_claim_that_is_bound_to_another_volume_keeps_that() -> None:
    """I3: the volume on the lost node was made for it, and lost the race; the one that it has is whole."""
    api = _lost(_pod())
    api.put(CLAIM, claim(phase="Bound", volumeName="pvc-c9"))
    assert Done() == await _loss(api).reconcile(KEY)
    assert ([], []) == (api.writes, api.events)


async def test_a_pod_whose_claim_is_there_is_left_alone() -> None:
    """Also when that came since the last look: the pod starts with it."""
    api = _lost(_pod())
    api.put(CLAIM, claim(uid="c2"))
    assert [] == await delete_waiting_pods(api, namespace="default", claim="www-web-0")
    assert [] == api.writes


async def test_a_claim_that_is_going_takes_nothing_over() -> None:
    """Of the same name, and not the one that had the volume: it is waited for."""
    api = _lost()
    going = claim(uid="c2")
    going["metadata"]["deletionTimestamp"] = LONG_AGO
    api.put(CLAIM, going)
    await _loss(api).reconcile(KEY)
    assert RELEASED not in _notes(api)


async def test_a_claim_made_anew_meanwhile_is_left_alone() -> None:
    """It has another UID: neither it nor its pod is deleted, and the old volume is marked."""
    api = _lost(_pod())
    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    assert [("patch", VOLUME.plural, "pvc-c1")] == api.writes
    assert RELEASED in _notes(api)


async def test_what_was_released_is_not_looked_at_again() -> None:
    """Also when its node comes back: what that means is for an admin to say."""
    api = _lost()
    api.put(CLAIM, claim(uid="c2"))
    await _loss(api).reconcile(KEY)
    done = list(api.writes)
    api.put(NODE, node(POOL))
    await _loss(api).reconcile(KEY)
    assert done == api.writes


@pytest.mark.limit("deleted-node-is-lost")
async def test_a_node_that_was_deleted_is_taken_for_gone() -> None:
    """Its pod may still run there, for all that anybody knows; a Node that is there, ready or not, keeps its claims."""
    api = _lost(_pod("former", on="n"))
    await _loss(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes
    api = _lost(
        _pod("former", on="n"), (NODE, node() | {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    )
    await _loss(api).reconcile(KEY)
    assert [] == [each for each in api.writes if each[0] == "delete"]


LATE: dict[str, tuple[Kind, Json]] = {
    "the node is there": (NODE, node()),
    "a node has the pool": (NODE, node(POOL) | {"metadata": node(POOL)["metadata"] | {"name": "m", "uid": "node2"}}),
    "the class says Wait": (STORAGE_CLASS, storage_class()),
    "the claim is another": (CLAIM, claim(uid="c2")),
}


@pytest.mark.parametrize("case", LATE)
async def test_the_api_itself_has_the_last_word(case: str) -> None:
    """What the caches do not know yet keeps the claim; then it is looked at again."""
    behind, api = _lost(), _lost()
    api.put(*LATE[case])
    loss = NodeLoss(api, behind.caches, api.recorder, drivers=_Drivers(), grace=GRACE)
    assert isinstance(await loss.reconcile(KEY), RequeueAfter)
    assert [] == api.writes


async def test_a_disk_that_a_driver_reports_is_not_lost() -> None:
    """Though no Node has its label: of a copied disk that is taken away from both."""
    api = _lost()
    await _loss(api, "m", "o").reconcile(KEY)
    assert 1 == len(api.all(CLAIM))
    assert {LAST_NODE: "n/node1"} == _notes(api)


async def test_without_the_right_the_claim_says_what_to_do() -> None:
    """Both ways out; it is tried again, slowly, and said once."""
    api = _lost(_pod())
    api.refuses = (CLAIM, POD)
    loss = _loss(api)
    for _ in range(2):
        result = await loss.reconcile(KEY)
        assert isinstance(result, RequeueAfter)
        assert result.seconds >= 60
    [(kind, reason, message)] = api.events
    assert ("Warning", "ClaimKept") == (kind, reason)
    for word in ("pvc-c1", "node n,", "release-on-node-loss", "kubectl -n default delete pvc www-web-0"):
        assert word in message
    assert [] == api.writes


async def test_a_claim_deleted_by_hand_needs_no_right() -> None:
    """The pod, which may not be deleted either, says what to do; when the claim is there anew, the volume is marked."""
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
async def test_a_claim_that_nobody_makes_anew_is_left() -> None:
    """Deleting the claim of a Deployment would end it for good; its owner is told instead."""
    going = stateful_set()
    going["metadata"]["deletionTimestamp"] = LONG_AGO
    for sets in ([], [going]):
        api = _lost()
        del api.objects[STATEFUL_SET.plural, "default", "web"]
        for each in sets:
            api.put(STATEFUL_SET, each)
        await _loss(api).reconcile(KEY)
        assert [] == api.writes
        [(_, reason, message)] = api.events
        assert "ClaimKept" == reason
        assert "no StatefulSet wants it now" in message


async def test_the_claims_of_an_ordinal_are_let_go_together_or_not_at_all() -> None:
    """An empty volume beside one that still waits starts no pod, and parts the ordinal's data when the node returns."""
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
    assert "ClaimKept" == reason
    assert "its pod needs claim logs-web-0, too" in message

    releases = storage_class(onNodeLoss="Release")
    releases["metadata"]["name"] = "waits"
    api.put(STORAGE_CLASS, releases)
    await _loss(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes


def _two_templates(*, phase: str, **parameters: str) -> tuple[_Api, Json]:
    """The set has a second template, of a class with these parameters, whose claim is not there; and its former volume."""
    kept = storage_class(**parameters)
    kept["metadata"]["name"] = "waits"
    former = volume(phase=phase, claim_uid="c8")
    former["metadata"] |= {"name": "pvc-c8", "uid": "v8"}
    former["spec"]["storageClassName"] = "waits"
    former["spec"]["claimRef"]["name"] = "logs-web-0"
    api = _lost((STATEFUL_SET, stateful_set("www", "logs")), (STORAGE_CLASS, kept), (VOLUME, former))
    return api, former


@pytest.mark.parametrize("there", [False, True])
async def test_a_former_volume_on_the_lost_node_holds_its_ordinal_back(there: bool) -> None:
    """Its claim, missing or unbound, will wait for it, as a bound one would."""
    api, _ = _two_templates(phase="Released")
    if there:
        logs = claim(uid="c9", storageClassName="waits")
        logs["metadata"]["name"] = "logs-web-0"
        api.put(CLAIM, logs)
    await _loss(api).reconcile(KEY)
    assert [] == api.writes
    assert "its pod needs claim logs-web-0, too" in api.events[0][2]


async def test_only_what_a_claim_will_wait_for_holds_its_ordinal_back() -> None:
    """Not a volume that was released, nor one of a class that releases or gives nothing back; nor one that the claim has none of."""
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


async def test_a_node_wakes_the_volumes_that_it_has_or_had() -> None:
    """By its labels, and by its name in their notes."""
    api = _api(notes={LAST_NODE: "m/x"})
    wakes = _loss(api).watches()[NODE]
    assert [KEY] == list(wakes(node(POOL)))
    assert [] == list(wakes(node()))
    assert [KEY] == list(wakes({"metadata": {"name": "m"}}))


async def test_a_claim_of_the_name_and_its_set_wake_the_volume() -> None:
    """A claim that was made anew names no volume yet; a set that is scaled up wants its ordinals back."""
    api = _lost()
    wakes = _loss(api).watches()
    assert [KEY] == list(wakes[CLAIM](claim(uid="c2")))
    assert [KEY] == list(wakes[STATEFUL_SET](stateful_set(replicas=1)))
    assert [] == list(wakes[STATEFUL_SET](stateful_set(replicas=0)))
    assert [KEY] == list(wakes[STORAGE_CLASS](storage_class()))
