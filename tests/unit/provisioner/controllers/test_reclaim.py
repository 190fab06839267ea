"""The deletion of released volumes, and its conditions."""

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
FINALIZERS = (VOLUME_PROTECTION, PROVISIONER_FINALIZER)


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


async def test_a_released_volume_with_policy_delete_is_deleted() -> None:
    """The order is external-provisioner's: DeleteVolume, delete the PersistentVolume, remove the finalizer."""
    api, driver = FakeApi((VOLUME, volume(phase="Released", policy="Delete", finalizers=FINALIZERS[1:]))), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    assert ["delete", "patch"] == [verb for verb, _, _ in api.writes]
    assert not api.all(VOLUME)


async def test_a_volume_with_policy_retain_is_not_deleted() -> None:
    """I3: with policy Retain the volume is not deleted in any phase."""
    api, driver = FakeApi((VOLUME, volume(phase="Released"))), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)


@pytest.mark.parametrize("note", [RELEASED, LOST_SINCE])
async def test_a_released_or_lost_volume_is_retained_until_its_pv_is_deleted(note: str) -> None:
    """I3: the owner did not delete that claim, or an admin wants to retain the data."""
    lost = volume(phase="Released", policy="Delete", finalizers=FINALIZERS[1:])
    lost["metadata"]["annotations"][note] = "2026-01-01T00:00:00Z"
    api, driver = FakeApi((VOLUME, lost)), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)
    await api.delete(VOLUME, "pvc-c1")
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    assert not api.all(VOLUME)


async def test_a_volume_whose_claim_exists_is_not_deleted() -> None:
    """I3: the claim is read from the API server, so that a phase that was written too early costs no data."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    api, driver = FakeApi((VOLUME, pv), (CLAIM, claim())), _Driver()
    assert Done() == await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_volume_whose_claim_was_bound_to_another_is_deleted() -> None:
    """I6: a claim's volumeName never changes, so it was never bound to this volume, and no other claim waits for it."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    api, driver = FakeApi((VOLUME, pv), (CLAIM, claim(volumeName="another"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted
    api, driver = FakeApi((VOLUME, pv), (CLAIM, claim(volumeName="pvc-c1"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_change_to_retain_in_the_last_moment_counts() -> None:
    """I3: a stale cache with policy Delete does not override the admin."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    behind, driver = FakeApi((VOLUME, pv)), _Driver()
    pv["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
    api = FakeApi((VOLUME, pv))
    assert Done() == await Reclaim(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)


async def test_a_volume_whose_pv_was_deleted_is_not_deleted() -> None:
    """I3: the last policy of a deleted PersistentVolume is unknown."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    behind, api, driver = FakeApi((VOLUME, pv)), FakeApi(), _Driver()
    assert Done() == await Reclaim(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_a_recreated_claim_does_not_retain_the_old_volume() -> None:
    """A claim of the same name with another UID is not the one that the volume belonged to."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS[1:])
    api, driver = FakeApi((VOLUME, pv), (CLAIM, claim(uid="c2"))), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [HANDLE] == driver.deleted


async def test_a_reserved_volume_without_a_uid_is_not_deleted() -> None:
    """I3: a reservation by name never had a claim that could have been deleted."""
    pv = volume(phase="Released", policy="Delete", claim_uid="")
    api, driver = FakeApi((VOLUME, pv)), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert [] == driver.deleted


async def test_the_deletion_is_retried_while_the_driver_is_unavailable() -> None:
    """Nothing is written to the API server until the driver has deleted the volume."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    unavailable = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="unavailable")
    api = FakeApi((VOLUME, pv))
    assert isinstance(await _release(api, _Driver(unavailable)).reconcile(KEY), RequeueAfter)
    assert [] == api.writes


async def test_a_refusal_is_an_event() -> None:
    """The driver's refusal is reported on the volume, and the deletion is retried."""
    pv = volume(phase="Released", policy="Delete", finalizers=FINALIZERS)
    refusal = RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="the volume is staged")
    api = FakeApi((VOLUME, pv))
    with pytest.raises(RpcError):
        await _release(api, _Driver(refusal)).reconcile(KEY)
    assert [("Warning", "VolumeFailedDelete")] == [event[:2] for event in api.events]


async def test_the_finalizer_follows_the_policy() -> None:
    """A bound volume that is changed to Delete gets the finalizer, one that is changed to Retain loses it."""
    api = FakeApi((VOLUME, volume(policy="Delete")))
    await _release(api, _Driver()).reconcile(KEY)
    assert [PROVISIONER_FINALIZER] == api.all(VOLUME)[0]["metadata"]["finalizers"]
    api = FakeApi((VOLUME, volume(finalizers=FINALIZERS)))
    await _release(api, _Driver()).reconcile(KEY)
    assert [VOLUME_PROTECTION] == api.all(VOLUME)[0]["metadata"]["finalizers"]


async def test_volumes_of_other_drivers_are_not_changed() -> None:
    """The volume of another driver is not deleted, even with policy Delete."""
    foreign = volume(phase="Released", policy="Delete")
    foreign["spec"]["csi"]["driver"] = "other.csi"
    api, driver = FakeApi((VOLUME, foreign)), _Driver()
    await _release(api, driver).reconcile(KEY)
    assert ([], []) == (driver.deleted, api.writes)
