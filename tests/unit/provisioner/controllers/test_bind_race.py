"""Collecting what lost a race, write by write."""

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
    """Has the volume; `refusal`, when set, is the answer to its deletion."""

    refusal: RpcError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.living[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", pool_uuid=POOL, state="ready")

    async def delete_volume(self, handle: str) -> None:
        """See Router."""
        if self.refusal:
            raise self.refusal
        await super().delete_volume(handle)


def _lost(*uids: str) -> Json:
    """The volume pvc-c1, reserved by name; `uids` are the claims that its history tells of."""
    found = volume(phase="Available", claim_uid="")
    held = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids or ("c1",)]
    found["metadata"]["annotations"][HISTORY] = history.write(held)
    return found


def _bound() -> Json:
    """The claim, bound to another volume."""
    found = claim(phase="Bound", volumeName="another")
    found["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
    return found


def _leftovers(api: FakeApi, driver: FakeDriver) -> BindRace:
    return BindRace(api, api.caches, api.recorder, drivers=driver)


async def test_first_nobody_can_be_bound_to_it_then_it_goes() -> None:
    """One write fences it off; then the driver learns that nobody has it, moves it to the trash, and the object goes."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _leftovers(api, driver).reconcile(KEY)
    (marked,) = api.all(VOLUME)
    assert LOST_RACE_UID == marked["spec"]["claimRef"]["uid"]
    assert ([HANDLE], [EVENTS[Outcome.COLLECT]]) == (list(driver.living), [event[:2] for event in api.events])

    await _leftovers(api, driver).reconcile(KEY)
    assert ([], [HANDLE], []) == (list(driver.living), list(driver.trash), api.all(VOLUME))
    assert RELEASED in driver.trash[HANDLE].holder.labels, "or the next claim would take it out of the trash"
    assert ["patch", "delete"] == [verb for verb, _, _ in api.writes]


async def test_what_is_marked_goes_though_its_claim_is_gone_by_then() -> None:
    """The mark is the proof: a driver that was away meanwhile costs nothing."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _leftovers(api, driver).reconcile(KEY)
    await api.delete(CLAIM, "www-web-0", namespace="default")
    driver.refusal = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="away")
    assert isinstance(await _leftovers(api, driver).reconcile(KEY), RequeueAfter)
    assert 1 == len(api.all(VOLUME))
    driver.refusal = None
    await _leftovers(api, driver).reconcile(KEY)
    assert ([HANDLE], []) == (list(driver.trash), api.all(VOLUME))


async def test_a_crash_after_the_driver_moved_it_is_made_up_for() -> None:
    """I5: the volume is in the trash already, and the object still goes."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _leftovers(api, driver).reconcile(KEY)
    await driver.delete_volume(HANDLE)
    assert Done() == await _leftovers(api, driver).reconcile(KEY)
    assert [] == api.all(VOLUME)


async def test_a_claim_that_only_the_cache_still_has_proves_nothing() -> None:
    """I3: the claim is asked for live, and so is the volume."""
    behind, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    api = FakeApi((VOLUME, _lost()))
    await BindRace(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    api.put(VOLUME, volume(claim_uid="c2"))
    api.put(CLAIM, _bound())
    await BindRace(api, behind.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert ([], [HANDLE]) == (api.writes, list(driver.living))


async def test_a_volume_that_somebody_was_bound_to_meanwhile_is_let_be() -> None:
    """The mark is written on the volume as it was judged, or not at all."""

    class Racing(FakeApi):
        async def patch(self, *arguments: object, **more: object) -> Json:
            if not self.writes:
                self.put(VOLUME, volume(claim_uid="c2"))
            return await super().patch(*arguments, **more)  # type: ignore[arg-type]

    api, driver = Racing((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    with pytest.raises(Conflict):
        await _leftovers(api, driver).reconcile(KEY)
    assert ("c2", []) == (api.all(VOLUME)[0]["spec"]["claimRef"]["uid"], api.events)


async def test_a_likely_leftover_of_a_claim_that_is_gone_is_kept() -> None:
    """Nothing is deleted; no claim gets it by itself, neither by its name nor as a former volume."""
    other = volume(claim_uid="c1", phase="Released")
    other["metadata"] |= {"name": "another", "uid": "v2"}
    api, driver = FakeApi((VOLUME, _lost()), (VOLUME, other)), _Driver()
    for _ in range(3):
        assert Done() == await _leftovers(api, driver).reconcile(KEY)
    kept = await api.get(VOLUME, "pvc-c1")
    assert "c1" == kept["spec"]["claimRef"]["uid"]
    assert RELEASED in kept["metadata"]["annotations"]
    assert ([HANDLE], 1, [EVENTS[Outcome.SET_ASIDE]]) == (
        list(driver.living),
        len(api.writes),
        [event[:2] for event in api.events],
    )


async def test_what_the_driver_refuses_is_said() -> None:
    """I7: on the volume, and it is tried again."""
    api, driver = FakeApi((VOLUME, _lost()), (CLAIM, _bound())), _Driver()
    await _leftovers(api, driver).reconcile(KEY)
    driver.refusal = RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="the volume is staged")
    with pytest.raises(RpcError):
        await _leftovers(api, driver).reconcile(KEY)
    assert ("Warning", "VolumeFailedDelete", "the volume is staged; it is tried again") == api.events[-1]
    assert 1 == len(api.all(VOLUME))


def test_a_claim_wakes_the_volume_that_was_made_for_it_in_vain() -> None:
    """The last part of the proof may come with the claim, after the volume's own last event."""
    api = FakeApi()
    wakes = _leftovers(api, FakeDriver()).watches()[CLAIM]
    assert [KEY] == list(wakes(_bound()))
    assert [] == list(wakes(claim())) == list(wakes(claim(volumeName="pvc-c1")))
