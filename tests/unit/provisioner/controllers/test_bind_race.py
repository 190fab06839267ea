"""The reconciler of PersistentVolumes that lost a bind race, write by write."""

import grpc
import pytest

from csi.v1 import inventory_pb2
from provisioner.binding.lifecycle.bind_race import Outcome
from provisioner.controllers.bind_race import EVENTS, BindRace
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.control import Done, RequeueAfter
from provisioner.kube.errors import Conflict
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, VOLUME, Json
from provisioner.model.names import BIND_COMPLETED, HISTORY, LOST_RACE_UID, RELEASED
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import HANDLE, POOL, claim, volume

KEY = ("", "pvc-c1")


class _Driver(FakeDriver):
    """A driver that has the volume; `refusal`, when set, is raised by DeleteVolume."""

    refusal: RpcError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.live[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", pool_uuid=POOL, state="ready")

    async def delete_volume(self, handle: str) -> None:
        """See DriverClient."""
        if self.refusal:
            raise self.refusal
        await super().delete_volume(handle)


def _lost(*uids: str) -> Json:
    """Return the volume pvc-c1, reserved by name; `uids` are the owners in its history."""
    found = volume(phase="Available", claim_uid="")
    owners = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids or ("c1",)]
    found["metadata"]["annotations"][HISTORY] = history.write(owners)
    return found


def _bound() -> Json:
    """Return the claim, bound to another volume."""
    found = claim(phase="Bound", volumeName="another")
    found["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
    return found


def _bind_race(api: FakeApi, driver: FakeDriver) -> BindRace:
    return BindRace(api, api.caches, api.recorder, drivers=driver)


async def test_a_volume_that_lost_is_made_unbindable_and_then_deleted() -> None:
    """
    The first write prevents any bind.

    Then the manifest records the release, the volume is moved to the trash, and its PersistentVolume is deleted.
    """
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _bind_race(api, driver).reconcile(KEY)
    (marked,) = api.all(VOLUME)
    assert LOST_RACE_UID == marked["spec"]["claimRef"]["uid"]
    assert ([HANDLE], [EVENTS[Outcome.COLLECT]]) == (list(driver.live), [event[:2] for event in api.events])

    await _bind_race(api, driver).reconcile(KEY)
    assert ([], [HANDLE], []) == (list(driver.live), list(driver.trash), api.all(VOLUME))
    assert RELEASED in driver.trash[HANDLE].holder.labels, "otherwise the next claim would restore it from the trash"
    assert ["patch", "delete"] == [verb for verb, _, _ in api.writes]


async def test_a_marked_volume_is_deleted_even_when_its_claim_was_deleted_meanwhile() -> None:
    """The mark is the proof, so that an unavailable driver only delays the deletion."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _bind_race(api, driver).reconcile(KEY)
    await api.delete(CLAIM, "www-web-0", namespace="default")
    driver.refusal = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="unavailable")
    assert isinstance(await _bind_race(api, driver).reconcile(KEY), RequeueAfter)
    assert 1 == len(api.all(VOLUME))
    driver.refusal = None
    await _bind_race(api, driver).reconcile(KEY)
    assert ([HANDLE], []) == (list(driver.trash), api.all(VOLUME))


async def test_after_a_crash_a_volume_in_the_trash_still_loses_its_object() -> None:
    """I5: the volume is in the trash already, and its PersistentVolume is still deleted."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _bind_race(api, driver).reconcile(KEY)
    await driver.delete_volume(HANDLE)
    assert Done() == await _bind_race(api, driver).reconcile(KEY)
    assert [] == api.all(VOLUME)


async def test_a_claim_that_is_only_in_the_cache_proves_nothing() -> None:
    """I3: both the claim and the volume are read from the API server."""
    behind, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    api = FakeApi((VOLUME, _lost()))
    await BindRace(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    api.put(VOLUME, volume(claim_uid="c2"))
    api.put(CLAIM, _bound())
    await BindRace(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert ([], [HANDLE]) == (api.writes, list(driver.live))


async def test_a_volume_that_was_bound_to_another_claim_meanwhile_is_not_changed() -> None:
    """The mark is written only to the volume as it was when the decision was made."""

    class Racing(FakeApi):
        async def patch(self, *arguments: object, **more: object) -> Json:
            if not self.writes:
                self.put(VOLUME, volume(claim_uid="c2"))
            return await super().patch(*arguments, **more)  # type: ignore[arg-type]

    api, driver = Racing((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    with pytest.raises(Conflict):
        await _bind_race(api, driver).reconcile(KEY)
    assert ("c2", []) == (api.all(VOLUME)[0]["spec"]["claimRef"]["uid"], api.events)


async def test_a_volume_whose_deleted_claim_proves_nothing_is_retained() -> None:
    """Nothing is deleted, and no claim gets the volume automatically, neither by name nor as a former volume."""
    other = volume(claim_uid="c1", phase="Released")
    other["metadata"] |= {"name": "another", "uid": "v2"}
    api, driver = FakeApi((VOLUME, _lost()), (VOLUME, other)), _Driver()
    for _ in range(3):
        assert Done() == await _bind_race(api, driver).reconcile(KEY)
    retained = await api.get(VOLUME, "pvc-c1")
    assert "c1" == retained["spec"]["claimRef"]["uid"]
    assert RELEASED in retained["metadata"]["annotations"]
    assert ([HANDLE], 1, [EVENTS[Outcome.RETAIN]]) == (
        list(driver.live),
        len(api.writes),
        [event[:2] for event in api.events],
    )


async def test_a_refusal_of_the_driver_is_an_event() -> None:
    """I7: the Event is on the volume, and the deletion is retried."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _bind_race(api, driver).reconcile(KEY)
    driver.refusal = RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="the volume is staged")
    with pytest.raises(RpcError):
        await _bind_race(api, driver).reconcile(KEY)
    assert ("Warning", "VolumeFailedDelete", "the volume is staged; it is retried") == api.events[-1]
    assert 1 == len(api.all(VOLUME))


def test_a_claim_triggers_the_volume_that_was_provisioned_for_it_in_vain() -> None:
    """The claim may complete the proof after the last event of the volume."""
    api = FakeApi()
    triggered = _bind_race(api, FakeDriver()).watches()[CLAIM]
    assert [KEY] == list(triggered(_bound()))
    assert [] == list(triggered(claim())) == list(triggered(claim(volumeName="pvc-c1")))
