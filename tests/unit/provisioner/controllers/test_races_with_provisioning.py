"""
Two volumes for one claim: its former one comes back while a new one is being made.

Whoever is bound first, no data is lost, and no empty volume is left for the next claim of that name.
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
from tests.unit.provisioner.controllers.objects import POOL
from tests.unit.provisioner.controllers.world import NAME, World

LABELS = {
    "mooring.dev/namespace": "default",
    "mooring.dev/namespace-uid": "n1",
    "mooring.dev/claim": NAME,
    "mooring.dev/claim-uid": "c2",
}


async def _former(world: World) -> str:
    """A volume of an earlier claim, which is gone, that an admin let go of; its name."""
    await world.make_set()
    await world.make_claim()
    volume = str((await world.bound())["spec"]["volumeName"])
    await world.drop_claim()
    await world.phase(volume, "Released")
    await world.release(volume)
    return volume


async def test_the_former_volume_first_and_the_class_says_delete(world: World) -> None:
    """Old volume bound first, the new one's policy is Delete: the new one is Released, and goes to the trash."""
    world.driver.idle.clear()
    await world.make_claim(storage_class="mooring-scratch")
    new = await world.being_made()
    await world.make_volume("by-hand", storage_class="mooring-scratch", claimRef={"namespace": "default", "name": NAME})
    assert "by-hand" == (await world.bound())["spec"]["volumeName"]

    world.driver.idle.set()
    await world.trashed(new)
    await world.gone(new)
    assert "Bound" == (await world.api.get(VOLUME, "by-hand"))["status"]["phase"]


async def test_the_former_volume_first_and_the_class_says_retain(world: World) -> None:
    """Old volume bound first, the new one's policy is Retain: upstream leaves that to the next claim of the name, and it is collected."""
    old = await _former(world)
    world.driver.idle.clear()
    await world.make_claim()
    new = await world.being_made()
    await world.give(old)
    assert old == (await world.bound())["spec"]["volumeName"]

    world.driver.idle.set()
    message = await world.said("BindRaceCollected")
    assert (
        f"volume {new}: it was provisioned for claim default/{NAME}, which was bound to volume {old} instead" in message
    )
    await world.trashed(new)
    await world.gone(new)
    assert [f"{POOL}.{old}"] == list(world.driver.living)

    await world.drop_claim()
    await world.make_claim()
    assert old == (await world.bound())["spec"]["volumeName"], "not even out of the trash does the empty one come back"


async def test_the_new_volume_first(world: World) -> None:
    """New volume bound first: the old one keeps its data, is nobody's by name, and stays a former volume of the claim."""
    old = await _former(world)
    before = await world.api.get(VOLUME, old)
    await world.make_claim()
    claim = await world.bound()
    new = claim["spec"]["volumeName"]
    world.driver.living[f"{POOL}.{old}"].holder.labels.pop(RELEASED)
    late = await world.api.get(VOLUME, old)
    late["metadata"]["annotations"].pop(RELEASED)
    labels = {**LABELS, "mooring.dev/claim-uid": claim["metadata"]["uid"]}
    await world.api.patch(VOLUME, old, adoption_patch(late, claim, labels=labels))

    assert f"which was bound to volume {new} instead" in await world.said("AdoptionLost")
    await world.phase(old, "Released")
    after = await world.api.get(VOLUME, old)
    assert before["spec"]["claimRef"]["uid"] == after["spec"]["claimRef"]["uid"]
    assert before["metadata"]["annotations"][HISTORY] == after["metadata"]["annotations"][HISTORY]
    assert sorted(f"{POOL}.{each}" for each in (old, new)) == sorted(world.driver.living)

    await world.drop_claim()
    await world.make_claim()
    assert new == (await world.bound())["spec"]["volumeName"], "it is the one that the ordinal had last"


async def _adopted(*, policy: str) -> Volume:
    """The old volume right after adoption was written, with the marks of an earlier bind by the controller."""
    held = objects.volume(phase="Released", policy=policy)
    held["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes"
    held["metadata"]["resourceVersion"] = "1"
    api = FakeApi((VOLUME, held), (CLAIM, objects.claim(uid="c2")))
    await api.patch(VOLUME, "pvc-c1", adoption_patch(api.all(VOLUME)[0], api.all(CLAIM)[0], labels=LABELS))
    return Volume.of(api.all(VOLUME)[0])


def _bound_to(volume: str) -> Claim:
    found = objects.claim(uid="c2", volumeName=volume)
    found["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
    return Claim.of(found)


async def test_an_adopted_volume_that_loses_is_neither_deleted_nor_handed_to_anybody() -> None:
    """New volume bound first: without bound-by-controller, and with Retain, the worst that upstream does is a reservation by name."""
    step = volume_step(await _adopted(policy="Retain"), claim=_bound_to("pvc-c2"))
    assert ("V8c", ClaimRefChange.KEEP_NAME, False) == (step.rule, step.claim_ref, step.reclaim)
    # What adoption refuses, since it is deleted then, by the same rule:
    assert ("V8a", True) == _rule(volume_step(await _adopted(policy="Delete"), claim=_bound_to("pvc-c2")))


def _rule(step: VolumeStep) -> tuple[str, bool]:
    return step.rule, step.reclaim


def _both() -> dict[str, Json]:
    """The former volume, adopted, and the new one, both with the claim's UID in their claimRef."""
    former, new = objects.volume(claim_uid="c2", phase="Released"), objects.volume(claim_uid="c2", phase="Pending")
    new["metadata"]["name"] = "pvc-c2"
    new["spec"]["csi"]["volumeHandle"] = f"{POOL}.pvc-c2"
    for each, uids in ((former, ("c1", "c2")), (new, ("c2",))):
        held = [history.Owner("default", NAME, uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids]
        each["metadata"]["annotations"][HISTORY] = history.write(held)
        assert PROVISIONED_BY in each["metadata"]["annotations"]
    return {"pvc-c1": former, "pvc-c2": new}


@pytest.mark.parametrize("order", list(permutations(["pvc-c1", "pvc-c2"])))
@pytest.mark.parametrize("waits", [True, False])
def test_both_name_the_claim_when_it_is_bound(order: tuple[str, str], waits: bool) -> None:
    """Upstream takes either one of the two; here it is one of them as well, and no other."""
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
def test_whichever_of_both_wins_the_other_is_put_right(winner: str, loser: str, outcome: Outcome) -> None:
    """Both name the claim: the empty one goes when it loses, the one with data stays what it was."""
    lost = _both()[loser]
    assert "V8c" == volume_step(Volume.of(lost), claim=_bound_to(winner)).rule
    lost["spec"]["claimRef"].pop("uid")
    lost["status"]["phase"] = "Available"
    found = lost_race(Volume.of(lost), claim=_bound_to(winner), others=())
    assert found is not None
    assert (outcome, winner) == (found.outcome, found.reason.actual)


@pytest.mark.limit("bind-race-unobserved")
def test_without_a_controller_a_claim_made_anew_gets_what_was_left_over() -> None:
    """Old volume bound first, Retain: as long as nobody collects the empty one, it goes to the next claim of the name."""
    former, empty = _both().values()
    empty["spec"]["claimRef"].pop("uid")
    empty["status"]["phase"] = "Available"
    newer = Claim.of(objects.claim(uid="c3"))
    storage_class = StorageClass.of(objects.storage_class())
    volumes = [Volume.of(former), Volume.of(empty)]
    step = claim_step(newer, volumes=Index(volumes), storage_class=storage_class, default_class=None)
    assert step.bind_to is not None
    assert "pvc-c2" == step.bind_to.name
    # With one, it is set aside before that claim comes.
    found = lost_race(volumes[1], claim=None, others=volumes)
    assert found is not None
    assert Outcome.SET_ASIDE is found.outcome
