"""The recorded refusal of a claim: who writes it, when it is valid, and what is reported from it."""

import dataclasses
import datetime as dt

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.actions.backoff import Backoff
from provisioner.actions.refusals import INFEASIBLE_SECONDS, _differs_in_amounts
from provisioner.binding.explain import explain_claim
from provisioner.controllers.claims import Claims
from provisioner.drivers.client import Created, DriverUnavailable, RpcError
from provisioner.kube.control import Done, RequeueAfter
from provisioner.kube.errors import Invalid
from provisioner.model import refusal
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, STATEFUL_SET, STORAGE_CLASS, Json, Kind
from provisioner.model.names import FORGET, LAST_REFUSAL, SELECTED_NODE, STORAGE_PROVISIONER
from provisioner.model.refusal import Refusal
from provisioner.observe.claim_facts import without_inventory
from tests.unit.provisioner.controllers.fake_api import FakeApi, Patch
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class

KEY = ("default", "www-web-0")
Code = grpc.StatusCode
REFUSED = (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION, Code.INTERNAL)


class _Refusing(FakeDriver):
    """A driver that refuses every volume with `message`."""

    def __init__(self, code: Code, message: str = "the size is below what xfs needs, 300Mi") -> None:
        super().__init__()
        self.code, self.message, self.calls = code, message, 0
        self.node_selected = True

    async def create_volume(self, *_: object, **__: object) -> Created:
        self.calls += 1
        kind = DriverUnavailable if self.code is Code.UNAVAILABLE else RpcError
        raise kind(code=self.code, message=self.message, node_selected=self.node_selected)


def _claim(*, on: str = "n", annotated: bool = True) -> Json:
    found = claim()
    provisioner = {STORAGE_PROVISIONER: "csi.mooring.dev"} if annotated else {}
    found["metadata"]["annotations"] = provisioner | ({SELECTED_NODE: on} if on else {})
    return found


def _api(scheduled: Json, *, immediate: bool = False, server: type[FakeApi] = FakeApi) -> FakeApi:
    mode = {"volumeBindingMode": "Immediate"} if immediate else {}
    return server(
        (CLAIM, scheduled),
        (NAMESPACE, namespace()),
        (NODE, node(POOL)),
        (STORAGE_CLASS, storage_class() | mode),
        (STATEFUL_SET, stateful_set()),
    )


def _claims(api: FakeApi, driver: FakeDriver, *, cluster: bool) -> Claims:
    return Claims(api, api.caches, api.recorder, drivers=driver, reschedules=cluster)


async def _annotations(api: FakeApi) -> dict[str, str]:
    found: dict[str, str] = (await api.get(CLAIM, "www-web-0", "default"))["metadata"].get("annotations") or {}
    return found


async def _explained(api: FakeApi) -> str:
    """Return the message of `mooring explain`, from objects of the API server alone."""
    found = Claim.of(await api.get(CLAIM, "www-web-0", "default"))
    return explain_claim(without_inventory(found, api.caches)).message


@pytest.mark.parametrize("code", REFUSED)
@pytest.mark.parametrize(("cluster", "immediate"), [(False, False), (False, True), (True, True)])
async def test_a_refusal_is_recorded_and_explained_without_the_controller(
    code: Code, cluster: bool, immediate: bool
) -> None:
    """In the engine, and where no scheduler writes the claim: one write, and no report of a volume in provisioning."""
    api = _api(_claim(on="" if immediate else "n"), immediate=immediate)
    await _claims(api, _Refusing(code), cluster=cluster).reconcile(KEY)

    recorded = refusal.read((await _annotations(api))[LAST_REFUSAL])
    assert recorded is not None
    assert (recorded.code, recorded.message) == (code.name, api.events[0][2])
    assert [("patch", "persistentvolumeclaims", "www-web-0")] == api.writes
    message = await _explained(api)
    assert "below what xfs needs, 300Mi" in message
    assert recorded.time in message
    assert "is being provisioned" not in message


@pytest.mark.parametrize("code", REFUSED)
async def test_in_a_cluster_the_refusal_is_in_the_patch_that_removes_the_node(code: Code) -> None:
    """There is one write, guarded by the resourceVersion, so that the scheduler's own write conflicts with no other."""
    api = _api(_claim())
    before = (await api.get(CLAIM, "www-web-0", "default"))["metadata"]["resourceVersion"]
    await _claims(api, _Refusing(code), cluster=True).reconcile(KEY)

    annotations = await _annotations(api)
    assert SELECTED_NODE not in annotations
    assert refusal.read(annotations[LAST_REFUSAL]) is not None
    assert [("patch", "persistentvolumeclaims", "www-web-0")] == api.writes
    assert before != (await api.get(CLAIM, "www-web-0", "default"))["metadata"]["resourceVersion"]
    assert "below what xfs needs, 300Mi" in await _explained(api), "also while it waits for another node"


class _OldPolicy(FakeApi):
    """An API server with an admission policy of an earlier version, which forbids the record."""

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        annotations = patch["metadata"].get("annotations", {}) if isinstance(patch, dict) else {}
        if LAST_REFUSAL in annotations:
            raise Invalid(422, "Invalid", "the controller may only remove the selected node")
        return await super().patch(kind, name, patch, namespace=namespace, subresource=subresource)


@pytest.mark.parametrize("immediate", [True, False])
async def test_a_policy_that_forbids_the_record_does_not_keep_a_claim_on_a_full_node(immediate: bool) -> None:
    """The controller and the policy are not updated at the same moment."""
    api = _api(_claim(on="" if immediate else "n"), immediate=immediate, server=_OldPolicy)
    result = await _claims(api, _Refusing(Code.RESOURCE_EXHAUSTED), cluster=True).reconcile(KEY)

    assert isinstance(result, RequeueAfter if immediate else Done)
    assert SELECTED_NODE not in await _annotations(api)


async def test_a_claim_that_is_refused_again_keeps_the_selected_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise scheduler and controller would alternate for ever, also where each node has another message."""
    monkeypatch.setattr(Backoff, "left", lambda *_: 0.0)
    api, driver = _api(_claim()), _Refusing(Code.INVALID_ARGUMENT)
    controller = _claims(api, driver, cluster=True)
    await controller.reconcile(KEY)
    for words in ("the size is below what xfs needs, 301Mi", "node n has no mkfs.xfs"):
        driver.message = words
        selected = await api.patch(
            CLAIM, "www-web-0", {"metadata": {"annotations": {SELECTED_NODE: "n"}}}, namespace="default"
        )
        api.writes.clear()
        await controller.reconcile(KEY)
        assert [] == api.writes
        now = await api.get(CLAIM, "www-web-0", "default")
        assert now["metadata"]["resourceVersion"] == selected["metadata"]["resourceVersion"]
    assert driver.calls == 3


async def test_a_claim_that_waits_for_its_first_consumer_is_not_written() -> None:
    """The scheduler may be about to write it: only the Event reports that data of another cluster is not adopted."""
    api = _api(_claim(on="", annotated=False))
    await _claims(api, await _with_data_of_another_cluster(api), cluster=True).reconcile(KEY)

    assert ["FormerVolumeBlocked"] == [reason for _, reason, _ in api.events]
    assert [] == api.writes


async def test_data_of_another_cluster_is_recorded_on_the_claim() -> None:
    """No other object of the API server shows why the claim waits."""
    api = _api(_claim())
    await _claims(api, await _with_data_of_another_cluster(api), cluster=False).reconcile(KEY)

    assert "of another cluster (other-cluster)" in await _explained(api)
    assert await _explained(api) in f"it has no volume yet: {api.events[0][2]} (since {await _time(api)})"


async def _with_data_of_another_cluster(api: FakeApi) -> FakeDriver:
    api.put(NAMESPACE, namespace("kube-system", "this-cluster"))
    driver = FakeDriver()
    other = _api(_claim())
    other.put(NAMESPACE, namespace("kube-system", "other-cluster"))
    await _claims(other, driver, cluster=False).reconcile(KEY)
    assert len(driver.live) == 1
    manifest = next(iter(driver.live.values()))
    manifest.holder.labels["mooring.dev/claim-uid"] = "other"
    manifest.holder.labels["mooring.dev/namespace-uid"] = "other"
    return driver


async def _time(api: FakeApi) -> str:
    recorded = refusal.read((await _annotations(api))[LAST_REFUSAL])
    assert recorded is not None
    return recorded.time


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED])
async def test_a_driver_without_a_final_answer_is_reported(code: Code) -> None:
    """No message claims that a volume is being provisioned."""
    api = _api(_claim())
    await _claims(api, _Refusing(code, "nothing answers at driver.sock"), cluster=False).reconcile(KEY)

    assert "nothing answers at driver.sock" in await _explained(api)


CHANGES: dict[str, tuple[Json, Json]] = {
    # what: (of the claim, of the class)
    "size": ({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, {}),
    "volume mode": ({"spec": {"volumeMode": "Block"}}, {"parameters": {"backend": "loop", "adopt": "Ordinal"}}),
    "forget": ({"metadata": {"annotations": {FORGET: "c1"}}}, {}),
    "parameters": ({}, {"parameters": {"backend": "directory", "adopt": "Ordinal", "pool": "local"}}),
    "mount options": ({}, {"mountOptions": ["noatime"]}),
    "another claim of the name": ({"metadata": {"uid": "c2"}}, {}),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_refusal_is_invalid_once_the_request_differs(what: str) -> None:
    """The claim or its class may have changed; the record stays until it is replaced."""
    api = _api(_claim())
    await _claims(api, _Refusing(Code.INVALID_ARGUMENT), cluster=False).reconcile(KEY)
    assert "refused" in await _explained(api)
    of_claim, of_class = CHANGES[what]
    await api.patch(CLAIM, "www-web-0", of_claim, namespace="default")
    await api.patch(STORAGE_CLASS, "mooring-directory", of_class)

    assert "is being provisioned for it" in await _explained(api)
    assert LAST_REFUSAL in await _annotations(api)


async def test_an_invalid_record_is_ignored() -> None:
    """Whatever a user writes into the annotation, no command and no controller fails."""
    for text in ("", "{", "[" * 5000, "[1]", '{"code": 1}', "x" * 100_000, '{"code":1,"time":2,"message":3,"asked":4}'):
        assert refusal.read(text) is None


@given(st.builds(Refusal, *[st.text(st.characters(blacklist_categories=["Cs"]), max_size=900)] * 4))
def test_a_record_is_read_as_it_was_written_and_bounded(record: Refusal) -> None:
    """The message is truncated, and the truncated one can be read."""
    short = dataclasses.replace(record, code=record.code[:40], time=record.time[:20], asked=record.asked[:16])
    found = refusal.read(short.write())

    assert found is not None
    assert dataclasses.replace(found, message="") == dataclasses.replace(short, message="")
    assert len(found.message) <= refusal.LONGEST_MESSAGE
    assert short.message.startswith(found.message.removesuffix("…"))


def test_another_message_with_the_same_code_is_recorded_only_after_minutes() -> None:
    """Each record removes the selected node. An invalid time, which a user may have written, does not count as old."""
    first = Refusal("INTERNAL", "2026-01-01T00:00:00Z", "node a: no", "x")
    soon = dataclasses.replace(first, time="2026-01-01T00:04:59Z", message="node b: no")
    late = dataclasses.replace(soon, time="2026-01-01T00:05:01Z")

    assert INFEASIBLE_SECONDS == 300
    assert [True, False, False] == [
        _differs_in_amounts(first, soon, node_chosen=True),
        _differs_in_amounts(first, late, node_chosen=True),
        _differs_in_amounts(first, soon, node_chosen=False),
    ]
    assert _differs_in_amounts(dataclasses.replace(first, time="now"), late, node_chosen=True)
    assert not _differs_in_amounts(first, dataclasses.replace(first, code="ABORTED"), node_chosen=True)


FINAL = [each for each in Code if each not in {Code.OK, Code.UNAVAILABLE}]


@given(
    code=st.sampled_from([*FINAL, Code.UNAVAILABLE]),
    node_selected=st.booleans(),
    selected=st.sampled_from(["n", "gone", ""]),
    pools=st.sampled_from([(POOL,), ()]),
    young=st.booleans(),
)
async def test_a_claim_that_waits_for_its_first_consumer_is_written_only_to_remove_its_node(
    code: Code, node_selected: bool, selected: str, pools: tuple[str, ...], young: bool
) -> None:
    """This holds in a cluster for every answer of the driver: any other write could conflict with the scheduler's."""
    scheduled = _claim(on=selected)
    now = dt.datetime.now(dt.UTC) - (dt.timedelta() if young else dt.timedelta(hours=1))
    scheduled["metadata"]["creationTimestamp"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    api = _api(scheduled)
    api.put(NODE, node(*pools))
    before = await api.get(CLAIM, "www-web-0", "default")
    driver = _Refusing(code)
    driver.node_selected = node_selected
    controller = _claims(api, driver, cluster=True)
    for _ in range(3):
        await controller.reconcile(KEY)

    after = await api.get(CLAIM, "www-web-0", "default")
    removed = bool(selected) and SELECTED_NODE not in after["metadata"]["annotations"]
    assert after == before or removed
    assert len(api.writes) == int(removed)
