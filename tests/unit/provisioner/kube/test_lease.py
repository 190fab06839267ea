"""Leader election: never two at once, a takeover when the leader ends, and nothing believed of another's clock."""

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
    """An API server that may be away."""

    away = False

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        if self.away:
            raise Unavailable(0, "Unavailable", "no answer")
        return await super().get(kind, name, namespace)


def _lease(api: FakeApi, identity: str, clock: _Clock, **more: Any) -> Lease:
    return Lease(api, namespace="m", name="mooring", identity=identity, clock=clock, **more)


def _spec(api: FakeApi) -> Json:
    spec: Json = api.all(LEASE, "m")[0]["spec"]
    return spec


async def _tried(lease: Lease) -> bool:
    """One try, without the sleep after it."""
    try:
        async with asyncio.timeout(0.02):
            await lease.acquire()
    except TimeoutError:
        return False
    return True


async def test_the_first_takes_it_and_others_wait() -> None:
    """The Lease says who, since when and for how long, as kubectl shows it."""
    api, clock = FakeApi(), _Clock()
    assert await _tried(_lease(api, "a", clock))
    assert not await _tried(_lease(api, "b", clock))
    spec = _spec(api)
    assert ("a", 15, 0) == (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"])
    assert spec["renewTime"] == spec["acquireTime"]


async def test_a_leader_that_ended_is_replaced_after_the_duration() -> None:
    """Counted from when the other first saw the Lease as it is; its timestamps say nothing."""
    api, clock = FakeApi(), _Clock()
    assert await _tried(_lease(api, "a", clock))
    stale = api.all(LEASE, "m")[0]
    stale["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    api.put(LEASE, stale)
    b = _lease(api, "b", clock)
    assert not await _tried(b)
    clock.now += 14.9
    assert not await _tried(b)
    clock.now += 0.2
    assert await _tried(b)
    assert ("b", 1) == (_spec(api)["holderIdentity"], _spec(api)["leaseTransitions"])


async def test_a_released_lease_is_taken_at_once() -> None:
    """An update of the controller costs no wait."""
    api, clock = FakeApi(), _Clock()
    a, b = _lease(api, "a", clock), _lease(api, "b", clock)
    assert await _tried(a)
    assert not await _tried(b)
    await a.release()
    assert not a.is_holder
    assert await _tried(b)
    await a.release()
    assert "b" == _spec(api)["holderIdentity"]


async def test_a_leader_notices_that_another_took_over() -> None:
    """And says who."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _tried(a)
    taken = api.all(LEASE, "m")[0]
    taken["spec"]["holderIdentity"] = "b"
    api.put(LEASE, taken)
    assert "b has taken the Lease m/mooring" == await a.renew_until_lost()


async def test_a_leader_without_an_api_server_gives_up_in_time() -> None:
    """Before anybody else could have taken the Lease."""
    api, clock = _Api(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _tried(a)
    losing = asyncio.create_task(a.renew_until_lost())
    api.away = True
    clock.now += 9.9
    await asyncio.sleep(0.05)
    assert not losing.done()
    clock.now += 0.2
    assert "could not be renewed for 10 s" in await losing
    assert not a.is_holder


async def test_a_process_that_was_suspended_believes_nothing() -> None:
    """When it wakes up it leads no longer, whatever the Lease says: another may have come and gone."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _tried(a)
    clock.now += 60
    assert not a.is_holder
    assert "could not be renewed" in await a.renew_until_lost()


async def test_a_deleted_lease_is_made_again() -> None:
    """By its holder, most likely; an admin's slip ends no leadership."""
    api, clock = FakeApi(), _Clock()
    a = _lease(api, "a", clock, retry_seconds=0.01)
    assert await _tried(a)
    await api.delete(LEASE, "mooring", namespace="m")
    losing = asyncio.create_task(a.renew_until_lost())
    await asyncio.sleep(0.1)
    losing.cancel()
    assert "a" == _spec(api)["holderIdentity"]


def test_periods_that_let_two_lead_are_refused() -> None:
    """A leader has to give up before another may begin."""
    with pytest.raises(ValueError, match="longer"):
        _lease(FakeApi(), "a", _Clock(), renew_deadline_seconds=15.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["try", "try", "release"]), st.floats(0, 12)),
    max_size=40,
)


@given(STEPS)
@settings(deadline=None)
def test_two_never_hold_it_at_once(steps: list[tuple[str, str, float]]) -> None:
    """Whatever the candidates do, and however long they sleep in between."""

    async def story() -> None:
        api, clock = FakeApi(), _Clock()
        leases = {name: _lease(api, name, clock) for name in "abc"}
        for name, deed, pause in steps:
            if deed == "release":
                await leases[name].release()
            else:
                await leases[name]._try_to_acquire()
            assert sum(each.is_holder for each in leases.values()) <= 1
            clock.now += pause
            assert sum(each.is_holder for each in leases.values()) <= 1

    asyncio.run(story())
