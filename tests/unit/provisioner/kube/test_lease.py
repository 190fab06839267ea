"""Leader election: never two leaders at once, a takeover when the leader ends, and no trust in another clock."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.kube.errors import Unavailable
from provisioner.kube.lease import Lease
from provisioner.model.kinds import LEASE, Json, Kind
from tests.unit.provisioner.controllers.fake_api import FakeApi


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Api(FakeApi):
    """An API server that may be unavailable."""

    unavailable = False

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        if self.unavailable:
            raise Unavailable(0, "Unavailable", "no answer")
        return await super().get(kind, name, namespace)


def _lease(api: FakeApi, identity: str, clock: _Clock, **more: Any) -> Lease:
    return Lease(api, namespace="m", name="mooring", identity=identity, clock=clock, **more)


def _spec(api: FakeApi) -> Json:
    spec: Json = api.all(LEASE, "m")[0]["spec"]
    return spec


async def _try_once(lease: Lease) -> bool:
    """Try once to acquire the Lease, without the pause after it."""
    try:
        async with asyncio.timeout(0.02):
            await lease.acquire()
    except TimeoutError:
        return False
    return True


async def test_the_first_candidate_acquires_it_and_others_wait() -> None:
    """The Lease has the holder, the time and the duration, as kubectl shows them."""
    api, clock = FakeApi(), _Clock()
    assert await _try_once(_lease(api, "a", clock))
    assert not await _try_once(_lease(api, "b", clock))
    spec = _spec(api)
    assert ("a", 15, 0) == (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"])
    assert spec["renewTime"] == spec["acquireTime"]


async def test_a_leader_that_ended_is_replaced_after_the_duration() -> None:
    """The duration counts from when the other candidate first observed the Lease; its timestamps are ignored."""
    api, clock = FakeApi(), _Clock()
    assert await _try_once(_lease(api, "a", clock))
    stale = api.all(LEASE, "m")[0]
    stale["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    api.put(LEASE, stale)
    b = _lease(api, "b", clock)
    assert not await _try_once(b)
    clock.now += 14.9
    assert not await _try_once(b)
    clock.now += 0.2
    assert await _try_once(b)
    assert ("b", 1) == (_spec(api)["holderIdentity"], _spec(api)["leaseTransitions"])


async def test_a_released_lease_is_acquired_at_once() -> None:
    """An update of the controller causes no delay."""
    api, clock = FakeApi(), _Clock()
    a, b = _lease(api, "a", clock), _lease(api, "b", clock)
    assert await _try_once(a)
    assert not await _try_once(b)
    await a.release()
    assert not a.is_holder
    assert await _try_once(b)
    await a.release()
    assert "b" == _spec(api)["holderIdentity"]


async def test_a_leader_detects_that_another_replica_took_over() -> None:
    """The reason names the new holder."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _try_once(a)
    taken = api.all(LEASE, "m")[0]
    taken["spec"]["holderIdentity"] = "b"
    api.put(LEASE, taken)
    assert "b has taken the Lease m/mooring" == await a.renew_until_lost()


async def test_a_leader_without_an_api_server_gives_up_in_time() -> None:
    """It gives up before another candidate may acquire the Lease."""
    api, clock = _Api(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _try_once(a)
    renewing = asyncio.create_task(a.renew_until_lost())
    api.unavailable = True
    clock.now += 9.9
    await asyncio.sleep(0.05)
    assert not renewing.done()
    clock.now += 0.2
    assert "could not be renewed for 10 s" in await renewing
    assert not a.is_holder


async def test_a_process_that_was_suspended_leads_no_longer() -> None:
    """It stops leading even if the Lease still names it: another candidate may have led meanwhile."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _try_once(a)
    clock.now += 60
    assert not a.is_holder
    assert "could not be renewed" in await a.renew_until_lost()


async def test_a_deleted_lease_is_created_again_by_its_holder() -> None:
    """A Lease that an admin deletes by mistake does not end the leadership."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _try_once(a)
    await api.delete(LEASE, "mooring", namespace="m")
    renewing = asyncio.create_task(a.renew_until_lost())
    await asyncio.sleep(0.1)
    renewing.cancel()
    assert "a" == _spec(api)["holderIdentity"]


def test_durations_that_allow_two_leaders_are_refused() -> None:
    """A leader has to give up before another candidate may acquire the Lease."""
    with pytest.raises(ValueError, match="longer"):
        _lease(FakeApi(), "a", _Clock(), renew_deadline_seconds=15.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["try", "try", "release"]), st.floats(0, 12)),
    max_size=40,
)


@given(STEPS)
@settings(deadline=None)
def test_two_candidates_never_hold_it_at_once(steps: list[tuple[str, str, float]]) -> None:
    """The rule holds for any order of attempts and releases, with any pauses between them."""

    async def run_steps() -> None:
        api, clock = FakeApi(), _Clock()
        leases = {name: _lease(api, name, clock) for name in "abc"}
        for name, action, pause in steps:
            if action == "release":
                await leases[name].release()
            else:
                await leases[name]._try_to_acquire()
            assert sum(each.is_holder for each in leases.values()) <= 1
            clock.now += pause
            assert sum(each.is_holder for each in leases.values()) <= 1

    asyncio.run(run_steps())
