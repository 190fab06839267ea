"""Leader election with requests in flight: the state of a candidate between a request and its response."""

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from provisioner.kube.lease import Lease
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import LEASE, NAMESPACE, Json, Kind
from tests.sweeps import times
from tests.unit.provisioner.controllers.fake_api import FakeApi, Patch
from tests.unit.provisioner.kube.test_transport import kubeconfig


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _GatedApi:
    """One candidate's connection to the API server: each request and each response waits for a gate to open."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.open = True
        self.gate = asyncio.Event()

    async def _wait_for_gate(self) -> None:
        if not self.open:
            self.gate.clear()
            await self.gate.wait()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        await self._wait_for_gate()
        try:
            return await self._api.get(kind, name, namespace)
        finally:
            await self._wait_for_gate()

    async def create(self, kind: Kind, obj: Json) -> Json:
        await self._wait_for_gate()
        try:
            return await self._api.create(kind, obj)
        finally:
            await self._wait_for_gate()

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        await self._wait_for_gate()
        try:
            return await self._api.patch(kind, name, patch, namespace=namespace, subresource=subresource)
        finally:
            await self._wait_for_gate()


def _lease(transport: Any, identity: str, clock: _Clock, **more: Any) -> Lease:
    return Lease(transport, namespace="m", name="mooring", identity=identity, clock=clock, **more)


async def _settled() -> None:
    """Run everything that does not wait for a gate."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_late_response_makes_no_leader() -> None:
    """A process that was suspended during a request holds nothing when it continues, until it has renewed."""
    clock = _Clock()
    gated = _GatedApi(FakeApi())
    gated.open = False
    lease = _lease(gated, "a", clock, retry_seconds=0.01)
    acquiring = asyncio.create_task(lease.acquire())
    for _ in range(3):  # get, its response, create: only the response of create is pending
        await _settled()
        gated.gate.set()
    await _settled()
    clock.now += 60
    gated.gate.set()
    await _settled()
    assert not acquiring.done()
    assert not lease.is_holder
    gated.open = True
    gated.gate.set()
    await acquiring
    assert lease.is_holder


async def test_a_candidate_that_releases_holds_nothing_before_the_response() -> None:
    """The server may have applied the release already, and another candidate may have acquired the Lease."""
    api, clock = FakeApi(), _Clock()
    gated = _GatedApi(api)
    a, b = _lease(gated, "a", clock), _lease(api, "b", clock)
    assert await a._try_to_acquire()
    gated.open = False
    releasing = asyncio.create_task(a.release())
    for _ in range(3):
        await _settled()
        gated.gate.set()
    await _settled()
    assert await b._try_to_acquire()
    assert (False, True) == (a.is_holder, b.is_holder)
    gated.open = True
    gated.gate.set()
    await releasing


async def test_a_cancelled_renewal_does_not_delay_the_release() -> None:
    """A process may be stopped while a renewal is in flight; its write does not prevent the release."""
    api, clock = FakeApi(), _Clock()
    gated = _GatedApi(api)
    a, b = _lease(gated, "a", clock), _lease(api, "b", clock)
    assert await a._try_to_acquire()
    gated.open = False
    renewing = asyncio.create_task(a._try_to_acquire())
    for _ in range(3):
        await _settled()
        gated.gate.set()
    await _settled()
    renewing.cancel()
    await asyncio.wait([renewing])
    gated.open = True
    await a.release()
    assert await b._try_to_acquire()
    assert "b" == b.holder


async def test_other_candidates_leave_a_deleted_lease_to_its_holder() -> None:
    """Others wait as for a holder that ended: it may not have observed the deletion yet."""
    api, clock = FakeApi(), _Clock()
    a, b = _lease(api, "a", clock), _lease(api, "b", clock)
    assert await a._try_to_acquire()
    assert not await b._try_to_acquire()
    clock.now += 14
    assert await a._try_to_acquire()
    await api.delete(LEASE, "mooring", namespace="m")
    clock.now += 2
    assert not await b._try_to_acquire()
    assert a.is_holder
    clock.now += 14.9
    assert not await b._try_to_acquire()
    clock.now += 0.2
    assert await b._try_to_acquire()
    assert not a.is_holder


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["try", "pass", "finish", "release", "delete"]),
        st.sampled_from([0.0, 0.0, 0.0, 1.0, 4.0, 10.5, 15.5]),
    ),
    max_size=80,
)


@given(STEPS)
@settings(deadline=None, max_examples=times(300))
def test_two_candidates_never_hold_it_with_requests_in_flight(steps: list[tuple[str, str, float]]) -> None:
    """The rule holds for requests in any order, candidates suspended at any point, and one deletion of the Lease."""

    async def run_steps() -> None:
        api, clock = FakeApi(), _Clock()
        gates = {name: _GatedApi(api) for name in "abc"}
        leases = {name: _lease(gates[name], name, clock) for name in "abc"}
        tasks: dict[str, asyncio.Task[Any]] = {}
        for name in "abc":
            await leases[name]._try_to_acquire()
            gates[name].open = False
        deleted = False
        for name, action, pause in steps:
            idle = name not in tasks or tasks[name].done()
            gates[name].open = action == "finish"
            if action == "delete" and not deleted and api.all(LEASE, "m"):
                deleted = True
                await api.delete(LEASE, "mooring", namespace="m")
            elif action == "release" and idle:
                tasks[name] = asyncio.create_task(leases[name].release())
            elif action in {"try", "finish"} and idle:
                tasks[name] = asyncio.create_task(leases[name]._try_to_acquire())
            elif action in {"pass", "finish"}:
                gates[name].gate.set()
            await _settled()
            assert sum(each.is_holder for each in leases.values()) <= 1
            clock.now += pause
            assert sum(each.is_holder for each in leases.values()) <= 1
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())

    asyncio.run(run_steps())


async def test_the_embedded_server_allows_one_holder(tmp_path: Path) -> None:
    """The server refuses a write with an old resourceVersion, and accepts the format of the timestamps."""
    clock = _Clock()
    store = Store(tmp_path / "engine.db")
    try:
        async with serve(store, port=0, tls=None, token="sesame") as port:
            transport = await KubeTransport.from_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"))
            try:
                await transport.create(NAMESPACE, {"metadata": {"name": "m"}})
                a, b = _lease(transport, "a", clock), _lease(transport, "b", clock)
                assert sorted(await asyncio.gather(a._try_to_acquire(), b._try_to_acquire())) == [False, True]
                leader, other = (a, b) if a.is_holder else (b, a)
                assert not await other._try_to_acquire()
                assert await leader._try_to_acquire()
                clock.now += 16
                assert not await other._try_to_acquire()  # it has only now observed the renewal
                clock.now += 16
                assert await other._try_to_acquire()
                assert (False, True) == (leader.is_holder, other.is_holder)
                assert not await leader._try_to_acquire()
                await other.release()
                assert await leader._try_to_acquire()
                spec = (await transport.get(LEASE, "mooring", "m"))["spec"]
                assert (leader.holder, 2) == (spec["holderIdentity"], spec["leaseTransitions"])
            finally:
                await transport.close()
    finally:
        store.close()
