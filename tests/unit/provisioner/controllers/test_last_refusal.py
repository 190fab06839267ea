"""The last refusal is a fact on record: what may write it, when it holds, and what is said from it."""

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
    """Refuses every volume, in the words of the last call."""

    def __init__(self, code: Code, message: str = "the size is below what xfs needs, 300Mi") -> None:
        super().__init__()
        self.code, self.message, self.calls = code, message, 0
        self.node_selected = True

    async def create_volume(self, **_: object) -> Created:
        self.calls += 1
        kind = DriverUnavailable if self.code is Code.UNAVAILABLE else RpcError
        raise kind(code=self.code, message=self.message, node_selected=self.node_selected)


def _claim(*, on: str = "n", asked: bool = True) -> Json:
    found = claim()
    provisioner = {STORAGE_PROVISIONER: "csi.mooring.dev"} if asked else {}
    found["metadata"]["annotations"] = provisioner | ({SELECTED_NODE: on} if on else {})
    return found


def _api(placed: Json, *, immediate: bool = False, server: type[FakeApi] = FakeApi) -> FakeApi:
    mode = {"volumeBindingMode": "Immediate"} if immediate else {}
    return server(
        (CLAIM, placed),
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
    """What `mooring explain` says, of what the API server has alone."""
    found = Claim.of(await api.get(CLAIM, "www-web-0", "default"))
    return explain_claim(without_inventory(found, api.caches)).message


@pytest.mark.parametrize("code", REFUSED)
@pytest.mark.parametrize(("cluster", "immediate"), [(False, False), (False, True), (True, True)])
async def test_a_refusal_is_on_the_claim_and_explained_without_the_controller(
    code: Code, cluster: bool, immediate: bool
) -> None:
    """In the engine, and where no scheduler writes the claim: one write, and nothing is said to be made."""
    api = _api(_claim(on="" if immediate else "n"), immediate=immediate)
    await _claims(api, _Refusing(code), cluster=cluster).reconcile(KEY)

    recorded = refusal.read((await _annotations(api))[LAST_REFUSAL])
    assert recorded is not None
    assert (recorded.code, recorded.message) == (code.name, api.events[0][2])
    assert [("patch", "persistentvolumeclaims", "www-web-0")] == api.writes
    said = await _explained(api)
    assert "below what xfs needs, 300Mi" in said
    assert recorded.time in said
    assert "is being made" not in said


@pytest.mark.parametrize("code", REFUSED)
async def test_in_a_cluster_the_refusal_goes_with_the_patch_that_takes_the_node_off(code: Code) -> None:
    """One write, guarded by the resourceVersion; the scheduler's own is never met by another of ours."""
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
    """An API server whose admission policy knows nothing of records."""

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        annotations = patch["metadata"].get("annotations", {}) if isinstance(patch, dict) else {}
        if LAST_REFUSAL in annotations:
            raise Invalid(422, "Invalid", "the controller only takes the selected node away")
        return await super().patch(kind, name, patch, namespace=namespace, subresource=subresource)


@pytest.mark.parametrize("immediate", [True, False])
async def test_a_policy_that_forbids_the_record_does_not_keep_a_claim_on_a_full_node(immediate: bool) -> None:
    """Controller and policy are not updated in one moment."""
    api = _api(_claim(on="" if immediate else "n"), immediate=immediate, server=_OldPolicy)
    result = await _claims(api, _Refusing(Code.RESOURCE_EXHAUSTED), cluster=True).reconcile(KEY)

    assert isinstance(result, RequeueAfter if immediate else Done)
    assert SELECTED_NODE not in await _annotations(api)


async def test_a_claim_that_is_refused_alike_again_keeps_the_node_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else scheduler and controller would hand it to each other for ever, also where each node says it otherwise."""
    monkeypatch.setattr(Backoff, "left", lambda *_: 0.0)
    api, driver = _api(_claim()), _Refusing(Code.INVALID_ARGUMENT)
    controller = _claims(api, driver, cluster=True)
    await controller.reconcile(KEY)
    for words in ("the size is below what xfs needs, 301Mi", "node n has no mkfs.xfs"):
        driver.message = words
        chosen = await api.patch(
            CLAIM, "www-web-0", {"metadata": {"annotations": {SELECTED_NODE: "n"}}}, namespace="default"
        )
        api.writes.clear()
        await controller.reconcile(KEY)
        assert [] == api.writes
        now = await api.get(CLAIM, "www-web-0", "default")
        assert now["metadata"]["resourceVersion"] == chosen["metadata"]["resourceVersion"]
    assert driver.calls == 3


async def test_before_a_node_was_chosen_nothing_is_written_to_a_claim_that_waits() -> None:
    """The scheduler may be about to write it: only the Event tells that data of another cluster is held back."""
    api = _api(_claim(on="", asked=False))
    await _claims(api, await _with_data_of_another_cluster(api), cluster=True).reconcile(KEY)

    assert ["FormerVolumeBlocked"] == [reason for _, reason, _ in api.events]
    assert [] == api.writes


async def test_what_only_the_disks_tell_is_recorded_where_it_may_be() -> None:
    """Data of another cluster is held back: nothing that the API server has would say so."""
    api = _api(_claim())
    await _claims(api, await _with_data_of_another_cluster(api), cluster=False).reconcile(KEY)

    assert "of another cluster (elsewhere)" in await _explained(api)
    assert await _explained(api) in f"it has no volume yet: {api.events[0][2]} (since {await _time(api)})"


async def _with_data_of_another_cluster(api: FakeApi) -> FakeDriver:
    api.put(NAMESPACE, namespace("kube-system", "here"))
    driver = FakeDriver()
    made = _api(_claim())
    made.put(NAMESPACE, namespace("kube-system", "elsewhere"))
    await _claims(made, driver, cluster=False).reconcile(KEY)
    assert len(driver.living) == 1
    manifest = next(iter(driver.living.values()))
    manifest.holder.labels["mooring.dev/claim-uid"] = "theirs"
    manifest.holder.labels["mooring.dev/namespace-uid"] = "theirs"
    return driver


async def _time(api: FakeApi) -> str:
    recorded = refusal.read((await _annotations(api))[LAST_REFUSAL])
    assert recorded is not None
    return recorded.time


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED])
async def test_a_driver_that_gives_no_final_answer_is_named_too(code: Code) -> None:
    """No volume is being made while nobody makes it."""
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
async def test_a_refusal_is_void_once_something_else_is_asked_for(what: str) -> None:
    """Whether the claim changed or its class; the record itself stays until it is replaced."""
    api = _api(_claim())
    await _claims(api, _Refusing(Code.INVALID_ARGUMENT), cluster=False).reconcile(KEY)
    assert "refused" in await _explained(api)
    of_claim, of_class = CHANGES[what]
    await api.patch(CLAIM, "www-web-0", of_claim, namespace="default")
    await api.patch(STORAGE_CLASS, "mooring-directory", of_class)

    assert "is being provisioned for it" in await _explained(api)
    assert LAST_REFUSAL in await _annotations(api)


async def test_what_a_user_writes_there_is_no_refusal() -> None:
    """Nothing in it ends a command or a controller."""
    for text in ("", "{", "[" * 5000, "[1]", '{"code": 1}', "x" * 100_000, '{"code":1,"time":2,"message":3,"asked":4}'):
        assert refusal.read(text) is None


@given(st.builds(Refusal, *[st.text(st.characters(blacklist_categories=["Cs"]), max_size=900)] * 4))
def test_a_record_is_read_as_it_was_written_and_bounded(made: Refusal) -> None:
    """The message is cut, and what was cut can still be read."""
    short = dataclasses.replace(made, code=made.code[:40], time=made.time[:20], asked=made.asked[:16])
    found = refusal.read(short.write())

    assert found is not None
    assert dataclasses.replace(found, message="") == dataclasses.replace(short, message="")
    assert len(found.message) <= refusal.LONGEST_MESSAGE
    assert short.message.startswith(found.message.removesuffix("…"))


def test_another_message_under_the_same_code_costs_the_chosen_node_only_after_minutes() -> None:
    """And one whose time a user wrote over does not count as old."""
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
    chosen=st.sampled_from(["n", "gone", ""]),
    pools=st.sampled_from([(POOL,), ()]),
    young=st.booleans(),
)
async def test_a_claim_that_waits_for_its_first_consumer_is_written_only_to_take_its_node_off(
    code: Code, node_selected: bool, chosen: str, pools: tuple[str, ...], young: bool
) -> None:
    """Whatever the driver answers, in a cluster: any other write could meet the scheduler's own."""
    placed = _claim(on=chosen)
    now = dt.datetime.now(dt.UTC) - (dt.timedelta() if young else dt.timedelta(hours=1))
    placed["metadata"]["creationTimestamp"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    api = _api(placed)
    api.put(NODE, node(*pools))
    before = await api.get(CLAIM, "www-web-0", "default")
    driver = _Refusing(code)
    driver.node_selected = node_selected
    controller = _claims(api, driver, cluster=True)
    for _ in range(3):
        await controller.reconcile(KEY)

    after = await api.get(CLAIM, "www-web-0", "default")
    taken_off = bool(chosen) and SELECTED_NODE not in after["metadata"]["annotations"]
    assert after == before or taken_off
    assert len(api.writes) == int(taken_off)
