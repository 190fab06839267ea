"""The end of a volume: who deletes it, and who must not."""

import grpc
import pytest

from provisioner.controllers.reclaim import Reclaim
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.kinds import CLAIM, VOLUME
from provisioner.model.names import LOST_SINCE, PROVISIONER_FINALIZER, RELEASED, VOLUME_PROTECTION
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import HANDLE, claim, volume

KEY = ("", "pvc-c1")
KEPT = (VOLUME_PROTECTION, PROVISIONER_FINALIZER)


class _Driver:
    def __init__(self, error: RpcError | None = None) -> None:
        self.deleted: list[str] = []
        self._error = error

    async def delete_volume(self, handle: str) -> None:
        if self._error:
            raise self._error
        self.deleted.append(handle)


def _release(api: FakeApi, driver: _Driver) -> Reclaim:
    return Reclaim(api, api.caches, api.recorder, drivers=driver)


async def test_a_released_volume_with_policy_delete_goes() -> None:
    """The order is external-provisioner's: DeleteVolume, delete the object, drop the finalizer."""
    api, driver = FakeApi((VOLUME, volume(phase="Released", policy="Delete", finalizers=KEPT[1:]))), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    assert ["delete", "patch"] == [verb for verb, _, _ in api.writes]
    assert not api.all(VOLUME)


async def test_a_retained_volume_stays() -> None:
    """I3: policy Retain means that nothing of ours deletes the volume, in whatever phase."""
    api, driver = FakeApi((VOLUME, volume(phase="Released"))), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)


@pytest.mark.parametrize("note", [RELEASED, LOST_SINCE])
async def test_what_was_let_go_is_kept_until_its_object_is_deleted(note: str) -> None:
    """I3: nobody deleted that claim, or an admin wants the data kept; deleting the object says that it is over."""
    lost = volume(phase="Released", policy="Delete", finalizers=KEPT[1:])
    lost["metadata"]["annotations"][note] = "2026-01-01T00:00:00Z"
    api, driver = FakeApi((VOLUME, lost)), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)
    await api.delete(VOLUME, "pvc-c1")
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    assert not api.all(VOLUME)


async def test_a_volume_whose_claim_lives_stays() -> None:
    """I3: the claim is looked up live, so a phase written too early costs nobody's bytes."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    api, driver = FakeApi((VOLUME, held), (CLAIM, claim())), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_volume_whose_claim_was_bound_to_another_goes() -> None:
    """I6: a claim names its volume once and for all, so it never had this one, and nobody else will wait for it."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    api, driver = FakeApi((VOLUME, held), (CLAIM, claim(volumeName="another"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    api, driver = FakeApi((VOLUME, held), (CLAIM, claim(volumeName="pvc-c1"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_volume_turned_to_retain_in_the_last_moment_stays() -> None:
    """I3: an admin who keeps a released volume is not overtaken by a cache that still says Delete."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    behind, driver = FakeApi((VOLUME, held)), _Driver()
    held["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
    api = FakeApi((VOLUME, held))
    assert Done() == await Reclaim(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)


async def test_a_volume_that_went_by_itself_is_left_alone() -> None:
    """I3: of an object that is gone nobody knows what it said last."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    behind, api, driver = FakeApi((VOLUME, held)), FakeApi(), _Driver()
    assert Done() == await Reclaim(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_claim_made_anew_does_not_hold_the_old_volume() -> None:
    """A claim of the same name with another UID is not the one that the volume belonged to."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT[1:])
    api, driver = FakeApi((VOLUME, held), (CLAIM, claim(uid="c2"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted


async def test_a_reserved_volume_without_a_uid_stays() -> None:
    """I3: a reservation by name never had a claim that could be gone."""
    held = volume(phase="Released", policy="Delete", claim_uid="")
    api, driver = FakeApi((VOLUME, held)), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_driver_that_is_away_is_asked_again() -> None:
    """Nothing is written until the driver has said that the volume is gone."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    away = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="away")
    api = FakeApi((VOLUME, held))
    assert isinstance(await _release(api, _Driver(away)).reconcile(KEY), RequeueAfter)
    assert [] == api.writes


async def test_a_refusal_is_an_event() -> None:
    """What the driver refuses is said on the volume, and tried again."""
    held = volume(phase="Released", policy="Delete", finalizers=KEPT)
    refusal = RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="the volume is staged")
    api = FakeApi((VOLUME, held))
    with pytest.raises(RpcError):
        await _release(api, _Driver(refusal)).reconcile(KEY)
    assert [("Warning", "VolumeFailedDelete")] == [event[:2] for event in api.events]


async def test_the_finalizer_follows_the_policy() -> None:
    """A bound volume that is turned to Delete gets the finalizer, one turned to Retain loses it."""
    api = FakeApi((VOLUME, volume(policy="Delete")))
    await _release(api, _Driver()).reconcile(KEY)
    assert [PROVISIONER_FINALIZER] == api.all(VOLUME)[0]["metadata"]["finalizers"]
    api = FakeApi((VOLUME, volume(finalizers=KEPT)))
    await _release(api, _Driver()).reconcile(KEY)
    assert [VOLUME_PROTECTION] == api.all(VOLUME)[0]["metadata"]["finalizers"]


async def test_volumes_of_others_are_left_alone() -> None:
    """Another provisioner's volume is none of our business, even with our driver's policy."""
    foreign = volume(phase="Released", policy="Delete")
    foreign["spec"]["csi"]["driver"] = "other.csi"
    api, driver = FakeApi((VOLUME, foreign)), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)
