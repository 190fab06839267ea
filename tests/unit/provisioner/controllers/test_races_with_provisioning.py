"""
Two volumes for one claim: its former volume is adopted while a new one is being provisioned.

Whichever is bound first, no data is lost, and no empty volume is left for the next claim of that name.
"""

from itertools import permutations

import pytest

from provisioner.actions.adopt import adoption_patch
from provisioner.binding.lifecycle.bind_race import Outcome, lost_race
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.pv_controller import ClaimRefChange, VolumeStep, claim_step, volume_step
from provisioner.model import history
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, VOLUME, Json
from provisioner.model.names import BIND_COMPLETED, BOUND_BY_CONTROLLER, HISTORY, PROVISIONED_BY, RELEASED
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from tests.unit.provisioner.controllers import objects
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.harness import NAME, Harness
from tests.unit.provisioner.controllers.objects import POOL

LABELS = {
    "mooring.dev/namespace": "default",
    "mooring.dev/namespace-uid": "n1",
    "mooring.dev/claim": NAME,
    "mooring.dev/claim-uid": "c2",
}


async def _former(harness: Harness) -> str:
    """Return the name of a volume whose claim was deleted and which an admin released."""
    await harness.create_set()
    await harness.create_claim()
    volume = str((await harness.bound())["spec"]["volumeName"])
    await harness.delete_claim()
    await harness.phase(volume, "Released")
    await harness.release(volume)
    return volume


async def test_the_former_volume_is_bound_first_with_policy_delete(harness: Harness) -> None:
    """The new volume is Released, and moved to the trash."""
    harness.driver.idle.clear()
    await harness.create_claim(storage_class="mooring-scratch")
    new = await harness.creation_requested()
    await harness.create_volume(
        "by-hand", storage_class="mooring-scratch", claimRef={"namespace": "default", "name": NAME}
    )
    assert "by-hand" == (await harness.bound())["spec"]["volumeName"]

    harness.driver.idle.set()
    await harness.trashed(new)
    await harness.deleted(new)
    assert "Bound" == (await harness.api.get(VOLUME, "by-hand"))["status"]["phase"]


async def test_the_former_volume_is_bound_first_with_policy_retain(harness: Harness) -> None:
    """Upstream leaves the new volume Available for the next claim of the name; here it is deleted."""
    old = await _former(harness)
    harness.driver.idle.clear()
    await harness.create_claim()
    new = await harness.creation_requested()
    await harness.adopt(old)
    assert old == (await harness.bound())["spec"]["volumeName"]

    harness.driver.idle.set()
    message = await harness.event("BindRaceCollected")
    assert (
        f"volume {new}: it was provisioned for claim default/{NAME}, which was bound to volume {old} instead" in message
    )
    await harness.trashed(new)
    await harness.deleted(new)
    assert [f"{POOL}.{old}"] == list(harness.driver.live)

    await harness.delete_claim()
    await harness.create_claim()
    assert old == (await harness.bound())["spec"]["volumeName"], "the empty one is not restored from the trash"


async def test_the_new_volume_is_bound_first(harness: Harness) -> None:
    """The old volume keeps its data, is not reserved by name, and stays a former volume of the claim."""
    old = await _former(harness)
    before = await harness.api.get(VOLUME, old)
    await harness.create_claim()
    claim = await harness.bound()
    new = claim["spec"]["volumeName"]
    harness.driver.live[f"{POOL}.{old}"].holder.labels.pop(RELEASED)
    late = await harness.api.get(VOLUME, old)
    late["metadata"]["annotations"].pop(RELEASED)
    labels = {**LABELS, "mooring.dev/claim-uid": claim["metadata"]["uid"]}
    await harness.api.patch(VOLUME, old, adoption_patch(late, claim, labels=labels))

    assert f"which was bound to volume {new} instead" in await harness.event("AdoptionLost")
    await harness.phase(old, "Released")
    after = await harness.api.get(VOLUME, old)
    assert before["spec"]["claimRef"]["uid"] == after["spec"]["claimRef"]["uid"]
    assert before["metadata"]["annotations"][HISTORY] == after["metadata"]["annotations"][HISTORY]
    assert sorted(f"{POOL}.{each}" for each in (old, new)) == sorted(harness.driver.live)

    await harness.delete_claim()
    await harness.create_claim()
    assert new == (await harness.bound())["spec"]["volumeName"], "it is the one that the ordinal had last"


async def _adopted(*, policy: str) -> Volume:
    """Return the old volume right after its adoption, with the annotation of an earlier bind by the controller."""
    pv = objects.volume(phase="Released", policy=policy)
    pv["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes"
    pv["metadata"]["resourceVersion"] = "1"
    api = FakeApi((VOLUME, pv), (CLAIM, objects.claim(uid="c2")))
    await api.patch(VOLUME, "pvc-c1", adoption_patch(api.all(VOLUME)[0], api.all(CLAIM)[0], labels=LABELS))
    return Volume.of(api.all(VOLUME)[0])


def _bound_to(volume: str) -> Claim:
    found = objects.claim(uid="c2", volumeName=volume)
    found["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
    return Claim.of(found)


async def test_an_adopted_volume_that_loses_is_neither_deleted_nor_free() -> None:
    """Without bound-by-controller and with Retain, the worst that upstream does is a reservation by name."""
    step = volume_step(await _adopted(policy="Retain"), claim=_bound_to("pvc-c2"))
    assert ("V8c", ClaimRefChange.KEEP_NAME, False) == (step.rule, step.claim_ref, step.reclaim)
    # What adoption refuses, since it is deleted then, by the same rule:
    assert ("V8a", True) == _rule(volume_step(await _adopted(policy="Delete"), claim=_bound_to("pvc-c2")))


def _rule(step: VolumeStep) -> tuple[str, bool]:
    return step.rule, step.reclaim


def _both() -> dict[str, Json]:
    """Return the former volume, adopted, and the new one, both with the claim's UID in their claimRef."""
    former, new = objects.volume(claim_uid="c2", phase="Released"), objects.volume(claim_uid="c2", phase="Pending")
    new["metadata"]["name"] = "pvc-c2"
    new["spec"]["csi"]["volumeHandle"] = f"{POOL}.pvc-c2"
    for each, uids in ((former, ("c1", "c2")), (new, ("c2",))):
        owners = [history.Owner("default", NAME, uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids]
        each["metadata"]["annotations"][HISTORY] = history.write(owners)
        assert PROVISIONED_BY in each["metadata"]["annotations"]
    return {"pvc-c1": former, "pvc-c2": new}


@pytest.mark.parametrize("order", list(permutations(["pvc-c1", "pvc-c2"])))
@pytest.mark.parametrize("waits", [True, False])
def test_the_binder_binds_one_of_two_volumes_that_name_the_claim(order: tuple[str, str], waits: bool) -> None:
    """Upstream binds either one; here it is one of them as well, and no other."""
    both = _both()
    mode = "WaitForFirstConsumer" if waits else "Immediate"
    storage_class = StorageClass.of({**objects.storage_class(), "volumeBindingMode": mode})
    volumes = [Volume.of(both[name]) for name in order]
    step = claim_step(
        Claim.of(objects.claim(uid="c2")), volumes=Index(volumes), storage_class=storage_class, default_class=None
    )
    assert step.bind_to is not None
    assert step.bind_to.name in both


@pytest.mark.parametrize(
    ("winner", "loser", "outcome"), [("pvc-c1", "pvc-c2", Outcome.COLLECT), ("pvc-c2", "pvc-c1", Outcome.FORMER)]
)
def test_the_volume_that_lost_is_deleted_or_stays_a_former_volume(winner: str, loser: str, outcome: Outcome) -> None:
    """The empty one is deleted when it loses; the one with data stays a former volume."""
    lost = _both()[loser]
    assert "V8c" == volume_step(Volume.of(lost), claim=_bound_to(winner)).rule
    lost["spec"]["claimRef"].pop("uid")
    lost["status"]["phase"] = "Available"
    found = lost_race(Volume.of(lost), claim=_bound_to(winner), others=())
    assert found is not None
    assert (outcome, winner) == (found.outcome, found.reason.actual)


@pytest.mark.limit("bind-race-unobserved")
def test_without_a_controller_a_recreated_claim_gets_the_empty_volume() -> None:
    """With Retain, the empty volume is bound to the next claim of the name while no controller deletes it."""
    former, empty = _both().values()
    empty["spec"]["claimRef"].pop("uid")
    empty["status"]["phase"] = "Available"
    newer = Claim.of(objects.claim(uid="c3"))
    storage_class = StorageClass.of(objects.storage_class())
    volumes = [Volume.of(former), Volume.of(empty)]
    step = claim_step(newer, volumes=Index(volumes), storage_class=storage_class, default_class=None)
    assert step.bind_to is not None
    assert "pvc-c2" == step.bind_to.name
    # A controller fences it off before that claim is created.
    found = lost_race(volumes[1], claim=None, others=volumes)
    assert found is not None
    assert Outcome.RETAIN is found.outcome
