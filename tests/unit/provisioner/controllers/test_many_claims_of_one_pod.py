"""A decision about one of a pod's hundred claims evaluates each claim once, and queries the drivers a few times."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from csi.v1 import inventory_pb2
from provisioner.binding.adoption import siblings
from provisioner.binding.adoption.evaluate import Evaluation, evaluate
from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.facts import Facts
from provisioner.controllers.claims import Claims
from provisioner.kube.cache import Caches
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json
from provisioner.model.volume import Volume
from provisioner.observe import live_views
from provisioner.observe.claim_facts import FEW, gather
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class, volume


class _Counting(FakeDriver):
    """A driver that counts the queries."""

    queries = 0

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.Manifest]:
        self.queries += 1
        return await super().list_manifests(labels)


def _claims(count: int) -> list[Json]:
    found = []
    for number in range(count):
        each = claim(uid=f"uid{number}")
        each["metadata"]["name"] = f"t{number}-web-0"
        found.append(each)
    return found


def _volume_of(each: Json) -> Json:
    found = volume(claim_uid="old")
    name = each["metadata"]["name"]
    found["metadata"]["name"] = f"pvc-{name}"
    found["metadata"]["annotations"]["mooring.dev/template"] = name.partition("-")[0]
    found["spec"]["claimRef"]["name"] = name
    found["spec"]["csi"]["volumeHandle"] = f"{POOL}.pvc-{name}"
    return found


async def _facts(count: int, *, former: bool, nodes: int = 1) -> tuple[Facts, _Counting]:
    claims = _claims(count)
    owner = stateful_set()
    templates = [each["metadata"]["name"].partition("-")[0] for each in claims]
    owner["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": each}} for each in templates]
    api = FakeApi(
        (NAMESPACE, namespace()),
        (STORAGE_CLASS, storage_class() | {"volumeBindingMode": "Immediate"}),
        (STATEFUL_SET, owner),
        *((CLAIM, each) for each in claims),
        *((VOLUME, _volume_of(each)) for each in claims if former),
    )
    for number in range(nodes):
        each = node(POOL) if not number else node()
        each["metadata"] |= {"name": f"n{number}", "uid": f"n{number}"}
        api.put(NODE, each)
    driver = _Counting()
    return await gather(Claim.of(claims[0]), api.caches, driver), driver


@pytest.mark.parametrize(("count", "queries"), [(1, 1), (FEW, FEW), (FEW + 1, 1), (100, 1)])
async def test_the_drivers_are_queried_a_few_times_at_most(count: int, queries: int) -> None:
    """A few claims are queried one by one, more by their namespace in one query."""
    found, driver = await _facts(count, former=False)

    assert count - 1 == len(found.siblings)
    assert queries == driver.queries


@pytest.mark.parametrize("former", [True, False])
async def test_each_sibling_is_evaluated_at_most_twice_for_one_decision(
    former: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of evaluations is proportional to the claims, and does not depend on the number of nodes."""
    calls = 0

    def counting(facts: Any) -> Evaluation | None:
        nonlocal calls
        calls += 1
        return evaluate(facts)

    monkeypatch.setattr(siblings, "evaluate", counting)
    found, _ = await _facts(100, former=former, nodes=20)
    decision = decide(found)

    assert decision.action is (Action.ADOPT if former else Action.PROVISION)
    assert calls <= 2 * 100


async def test_each_claim_is_read_once_for_all_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred decisions about the claims of one pod read each of them once, and again when it changed."""
    claims = _claims(20)
    owner = stateful_set()
    owner["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": f"t{number}"}} for number in range(20)]
    caches = Caches()
    for kind, obj in (
        (NAMESPACE, namespace()),
        (STORAGE_CLASS, storage_class()),
        (STATEFUL_SET, owner),
        *((CLAIM, each) for each in claims),
    ):
        caches[kind].put(obj)
    reads: list[str] = []

    def counting(obj: Any) -> Claim:
        reads.append(obj["metadata"]["name"])
        return Claim.of(obj)

    views = live_views.claims_in(caches)
    monkeypatch.setattr(views, "_read", counting)
    for each in claims:
        await gather(Claim.of(each), caches, FakeDriver())
    assert sorted(reads) == sorted(each["metadata"]["name"] for each in claims)
    reads.clear()
    changed = claims[3] | {"status": {"phase": "Lost"}}
    caches[CLAIM].put(changed)
    found = await gather(Claim.of(claims[0]), caches, FakeDriver())
    assert reads == [changed["metadata"]["name"]]
    assert "Lost" in {each.claim.phase for each in found.siblings}


async def test_a_claim_with_a_new_volume_needs_no_query() -> None:
    """It only has to be bound. An adoption may have to be reverted, which needs the siblings."""
    claims = _claims(2)
    new = _volume_of(claims[0])
    new["spec"]["claimRef"]["uid"] = claims[0]["metadata"]["uid"]
    new["metadata"]["annotations"].pop("mooring.dev/history", None)
    api = FakeApi((NAMESPACE, namespace()), (STORAGE_CLASS, storage_class()), *((CLAIM, each) for each in claims))
    api.put(VOLUME, new)
    driver = _Counting()
    controller = Claims(api, api.caches, api.recorder, drivers=driver)
    await controller.reconcile(("default", claims[0]["metadata"]["name"]))
    assert driver.queries == 0
    facts = await gather(Claim.of(claims[0]), api.caches, FakeDriver())
    assert decide(facts).action is Action.BIND


async def test_siblings_do_not_wait_for_each_other_once_one_has_a_node() -> None:
    """
    Without a scheduler the first by name is provisioned first.

    Where its volume leaves one node, all others follow at once.
    """
    found, _ = await _facts(3, former=False, nodes=2)
    last = found.siblings[-1]
    others = (found, *found.siblings[:-1])

    def with_others(*, first_has: bool) -> Facts:
        beside = []
        for number, each in enumerate(others):
            own = _volume_of({"metadata": {"name": each.claim.name}})
            own["spec"]["claimRef"]["uid"] = each.claim.uid
            if first_has and not number:
                each.volumes.put(Volume.of(own))
            beside.append(dataclasses.replace(each, siblings=(), missing=()))
        return dataclasses.replace(last, siblings=tuple(beside))

    assert decide(with_others(first_has=False)).reasons[0].code == "after-sibling"
    after = decide(with_others(first_has=True))
    assert (Action.PROVISION, frozenset({"n0"})) == (after.action, after.candidates)


async def test_siblings_are_triggered_only_by_changes_that_concern_them() -> None:
    """An annotation of a controller triggers only its own claim; volume, deletion and request trigger all siblings."""
    claims = _claims(3)
    owner = stateful_set()
    owner["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": f"t{number}"}} for number in range(3)]
    api = FakeApi((STATEFUL_SET, owner), *((CLAIM, each) for each in claims))
    trigger = Claims(api, api.caches, api.recorder, drivers=FakeDriver()).watches()[CLAIM]
    one = claims[0]
    metadata = one["metadata"]
    noted = {**one, "metadata": {**metadata, "annotations": {"volume.kubernetes.io/selected-node": "n"}}}
    pending = {**noted, "status": {"phase": "Pending"}}
    forgets = {**noted, "metadata": {**metadata, "annotations": {"mooring.dev/forget": "x"}}}
    bound = {**noted, "spec": {**one["spec"], "volumeName": "pv"}}
    ends = {**bound, "metadata": {**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"}}

    triggered = [len(set(trigger(each))) for each in (one, one, noted, pending, forgets, bound, bound, ends)]
    assert triggered == [3, 1, 1, 1, 3, 3, 1, 3]
    await api.delete(CLAIM, metadata["name"], namespace="default")
    assert len(set(trigger(ends))) == 3, "the claim was deleted"
