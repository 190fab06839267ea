"""Leader election while requests are on their way: what a candidate believes between asking and being told."""

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


class _Line:
    """One candidate's way to the API server: a request and its answer each wait until they may pass."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.open = True
        self.gate = asyncio.Event()

    async def _pass(self) -> None:
        if not self.open:
            self.gate.clear()
            await self.gate.wait()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        await self._pass()
        try:
            return await self._api.get(kind, name, namespace)
        finally:
            await self._pass()

    async def create(self, kind: Kind, obj: Json) -> Json:
        await self._pass()
        try:
            return await self._api.create(kind, obj)
        finally:
            await self._pass()

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        await self._pass()
        try:
            return await self._api.patch(kind, name, patch, namespace=namespace, subresource=subresource)
        finally:
            await self._pass()


def _lease(transport: Any, identity: str, clock: _Clock, **more: Any) -> Lease:
    return Lease(transport, namespace="m", name="mooring", identity=identity, clock=clock, **more)


async def _settled() -> None:
    """Everything that can run without a gate has run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_answer_that_comes_too_late_makes_no_leader() -> None:
    """A process that was suspended while it asked holds nothing when it wakes up, until it has renewed."""
    clock = _Clock()
    line = _Line(FakeApi())
    line.open = False
    lease = _lease(line, "a", clock, retry_seconds=0.01)
    acquiring = asyncio.create_task(lease.acquire())
    for _ in range(3):  # the question, its answer, the creation: only the answer to that is still out
        await _settled()
        line.gate.set()
    await _settled()
    clock.now += 60
    line.gate.set()
    await _settled()
    assert not acquiring.done()
    assert not lease.is_holder
    line.open = True
    line.gate.set()
    await acquiring
    assert lease.is_holder


async def test_who_lets_go_holds_nothing_while_the_answer_is_out() -> None:
    """The server may have done it already, and another may have taken over."""
    api, clock = FakeApi(), _Clock()
    line = _Line(api)
    a, b = _lease(line, "a", clock), _lease(api, "b", clock)
    assert await a._try_to_acquire()
    line.open = False
    releasing = asyncio.create_task(a.release())
    for _ in range(3):
        await _settled()
        line.gate.set()
    await _settled()
    assert await b._try_to_acquire()
    assert (False, True) == (a.is_holder, b.is_holder)
    line.open = True
    line.gate.set()
    await releasing


async def test_a_renewal_cut_short_does_not_keep_others_waiting() -> None:
    """A stop may come while a renewal is on its way; what it wrote is no reason not to let go."""
    api, clock = FakeApi(), _Clock()
    line = _Line(api)
    a, b = _lease(line, "a", clock), _lease(api, "b", clock)
    assert await a._try_to_acquire()
    line.open = False
    renewing = asyncio.create_task(a._try_to_acquire())
    for _ in range(3):
        await _settled()
        line.gate.set()
    await _settled()
    renewing.cancel()
    await asyncio.wait([renewing])
    line.open = True
    await a.release()
    assert await b._try_to_acquire()
    assert "b" == b.holder


async def test_a_deleted_lease_is_left_to_its_holder() -> None:
    """Others wait as for a holder that ended: it may not have noticed yet."""
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
def test_two_never_hold_it_whatever_is_on_its_way(steps: list[tuple[str, str, float]]) -> None:
    """Requests pass in any order, candidates are suspended at any point, and once somebody deletes the Lease."""

    async def story() -> None:
        api, clock = FakeApi(), _Clock()
        lines = {name: _Line(api) for name in "abc"}
        leases = {name: _lease(lines[name], name, clock) for name in "abc"}
        tasks: dict[str, asyncio.Task[Any]] = {}
        for name in "abc":
            await leases[name]._try_to_acquire()
            lines[name].open = False
        deleted = False
        for name, deed, pause in steps:
            idle = name not in tasks or tasks[name].done()
            lines[name].open = deed == "finish"
            if deed == "delete" and not deleted and api.all(LEASE, "m"):
                deleted = True
                await api.delete(LEASE, "mooring", namespace="m")
            elif deed == "release" and idle:
                tasks[name] = asyncio.create_task(leases[name].release())
            elif deed in {"try", "finish"} and idle:
                tasks[name] = asyncio.create_task(leases[name]._try_to_acquire())
            elif deed in {"pass", "finish"}:
                lines[name].gate.set()
            await _settled()
            assert sum(each.is_holder for each in leases.values()) <= 1
            clock.now += pause
            assert sum(each.is_holder for each in leases.values()) <= 1
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())

    asyncio.run(story())


async def test_the_embedded_server_keeps_two_apart(tmp_path: Path) -> None:
    """The guard is the server's: a write from what is no longer so is refused, and the times are such as it takes."""
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
                assert not await other._try_to_acquire()  # it saw the renewal only now
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
