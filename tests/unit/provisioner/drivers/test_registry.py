"""Several drivers as one: who is asked, what is remembered of the absent, and the fence before an empty volume."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import grpc
import pytest

from csi.v1 import inventory_pb2
from provisioner.drivers.client import Created, DriverClient, DriverUnavailable, FormerVolumeError, RpcError, capability
from provisioner.drivers.registry import DriverRegistry
from provisioner.model.names import HOLDER_CLAIM, HOLDER_CLAIM_UID, HOLDER_NAMESPACE_UID, NODE_TOPOLOGY

HELD = {HOLDER_NAMESPACE_UID: "n1", HOLDER_CLAIM: "www-web-0"}
OWNER = {**HELD, HOLDER_CLAIM_UID: "c2"}
MOUNT = capability(modes=["ReadWriteOnce"], volume_mode="Filesystem", fs_type="", mount_flags=())
GI = 1 << 30


class _Driver:
    """A driver with one pool, which may be away, cannot tell its manifests, or is held up while it tells its pools."""

    def __init__(self, *pools: str, room: int = GI) -> None:
        self.pools = list(pools)
        self.room = room
        self.away = False
        self.slow = False
        self.held: asyncio.Event | None = None
        self.manifests: list[inventory_pb2.Manifest] = []
        self.trash: list[inventory_pb2.Manifest] = []
        self.made: list[str] = []
        self.deleted: list[str] = []

    def _answer(self) -> None:
        if self.away:
            raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="nobody there")

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        if self.held is not None:
            await self.held.wait()
        self._answer()
        return [
            inventory_pb2.Pool(uuid=uuid, name="main", available_bytes=self.room, backends=["directory", "loop"])
            for uuid in self.pools
        ]

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.Manifest]:
        self._answer()
        if self.slow:
            raise DriverUnavailable(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="too slow")
        return [each for each in self.manifests if (labels or {}).items() <= dict(each.holder.labels).items()]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.TrashEntry]:
        self._answer()
        found = [each for each in self.trash if (labels or {}).items() <= dict(each.holder.labels).items()]
        return [inventory_pb2.TrashEntry(manifest=each) for each in found]

    async def create_volume(self, *, name: str, required_bytes: int, **_: Any) -> Created:
        self._answer()
        self.made.append(name)
        return Created(handle=f"{self.pools[0]}.{name}", capacity_bytes=required_bytes, context={})

    async def delete_volume(self, handle: str) -> None:
        self._answer()
        self.deleted.append(handle)

    async def close(self) -> None:
        self.away = True


def _registry(**drivers: _Driver) -> DriverRegistry:
    return DriverRegistry({node: cast(DriverClient, driver) for node, driver in drivers.items()})


def _manifest(pool: str, name: str = "pvc-c1", *, state: str = "ready", uid: str = "c1") -> inventory_pb2.Manifest:
    manifest = inventory_pb2.Manifest(volume_id=f"{pool}.{name}", csi_name=name, pool_uuid=pool, state=state)
    manifest.holder.labels.update({**HELD, HOLDER_CLAIM_UID: uid})
    return manifest


async def _create(
    registry: DriverRegistry, node: str = "", *, adopts: bool = True, size: int = 4096, **more: Any
) -> str:
    made = await registry.create_volume(
        name="pvc-c2",
        required_bytes=size,
        capabilities=[MOUNT],
        parameters=OWNER,
        mutable_parameters={},
        segments={NODE_TOPOLOGY: node} if node else {},
        may_have_former=adopts,
        **more,
    )
    return made.handle


async def test_a_volume_is_made_where_the_scheduler_said() -> None:
    """The other node is not even asked to make it."""
    a, b = _Driver("p1"), _Driver("p2")
    assert "p2.pvc-c2" == await _create(_registry(a=a, b=b), "b")
    assert [] == a.made


async def test_without_a_scheduler_the_most_room_wins() -> None:
    """Immediate binding: among the candidates, and RESOURCE_EXHAUSTED when none has room."""
    registry = _registry(a=_Driver("p1", room=3 * GI), b=_Driver("p2", room=2 * GI))
    assert "p1.pvc-c2" == await _create(registry)
    assert "p2.pvc-c2" == await _create(registry, candidates={"b"})
    with pytest.raises(RpcError) as refused:
        await _create(registry, size=9 * GI)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.value.code


async def test_a_second_try_goes_where_the_first_began() -> None:
    """Or else the claim would have two volumes (I1)."""
    a, b = _Driver("p1", room=1), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", state="creating", uid="c2")]
    assert "p1.pvc-c2" == await _create(_registry(a=a, b=b))
    assert [] == b.made


async def test_what_a_first_try_left_on_another_node_goes() -> None:
    """The scheduler chose anew; nobody was ever given the first one."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", uid="c2")]
    assert "p2.pvc-c2" == await _create(_registry(a=a, b=b), "b")
    assert ["p1.pvc-c2"] == a.deleted


async def test_a_first_try_on_a_node_that_is_away_is_waited_for() -> None:
    """It may have been made; a second one elsewhere would be another (I1)."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", uid="c2")]
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.away = True
    with pytest.raises(DriverUnavailable):
        await _create(registry, "b")
    assert [] == b.made


async def test_a_volume_is_followed_by_its_pool() -> None:
    """The handle names the disk, whatever node has it now."""
    a, b = _Driver("p1"), _Driver("p2")
    registry = _registry(a=a, b=b)
    await registry.delete_volume("p2.x")
    a.pools, b.pools = ["p1", "p2"], []
    await registry.refresh()
    await registry.delete_volume("p2.y")
    assert (["p2.y"], ["p2.x"]) == (a.deleted, b.deleted)


@pytest.mark.limit("copied-pool")
async def test_a_disk_moved_from_a_dead_node_is_found_on_the_living_one() -> None:
    """Its label goes from the dead one; when that comes back with the same disk, both are refused."""
    a, b = _Driver("p1"), _Driver()
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.away, b.pools = True, ["p1"]
    await registry.refresh()
    await registry.delete_volume("p1.x")
    assert (["p1.x"], frozenset({"p1"})) == (b.deleted, registry.moved_from("a"))
    a.away = False
    await registry.refresh()
    assert all("copy of the other" in pool.problem for pool in await registry.list_pools())
    with pytest.raises(DriverUnavailable, match="a and b"):
        await registry.delete_volume("p1.y")


@pytest.mark.parametrize("in_trash", [False, True])
async def test_a_claim_with_a_former_volume_gets_no_empty_one(in_trash: bool) -> None:
    """I2: the last fence; nothing is made, whoever asks, and wherever the former volume is."""
    a, b = _Driver("p1"), _Driver("p2")
    (a.trash if in_trash else a.manifests).append(_manifest("p1"))
    with pytest.raises(FormerVolumeError) as refused:
        await _create(_registry(a=a, b=b), "b")
    assert (grpc.StatusCode.FAILED_PRECONDITION, "p1.pvc-c1") == (refused.value.code, refused.value.handle)
    assert [] == a.made + b.made


async def test_an_absent_driver_is_remembered() -> None:
    """I2: what it said before it went counts on, until its node is gone for good."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.away = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    registry.leave("a")
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    registry.forget("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_what_a_node_that_is_gone_said_counts_no_longer() -> None:
    """Its driver leaves after its Node did; a claim that was let go would wait for it for ever."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    gone: set[str] = set()
    registry = DriverRegistry({"a": cast(DriverClient, a), "b": cast(DriverClient, b)}, gone=gone.__contains__)
    await registry.refresh()
    a.away = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    gone.add("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_only_drivers_that_answer_report_a_pool() -> None:
    """What one said before it went is no report; a copied disk is reported by both."""
    a, b = _Driver("p1"), _Driver("p1")
    registry = _registry(a=a, b=b)
    await registry.refresh()
    assert (["a", "b"], []) == (registry.reporting("p1"), registry.reporting("p2"))
    a.away = True
    await registry.refresh()
    assert ["b"] == registry.reporting("p1")


async def test_a_question_on_its_way_makes_no_driver_silent() -> None:
    """What a driver said last counts until it fails to answer, however many questions overlap."""
    a, b = _Driver("p1"), _Driver("p1")
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.held = asyncio.Event()
    slow = asyncio.create_task(registry.pools_on("a"))
    await asyncio.sleep(0)
    assert ["a", "b"] == registry.reporting("p1")
    [twin] = await registry.pools_on("b")
    assert "copy of the other" in twin.problem
    a.away = True
    a.held.set()
    with pytest.raises(DriverUnavailable):
        await slow
    assert ["b"] == registry.reporting("p1")


@pytest.mark.parametrize("late", ["a", "b"])
async def test_copies_are_judged_when_all_have_answered(late: str) -> None:
    """Also the first time: the faster twin of a cloned disk is no better than the other, and gets no volume."""
    drivers = {"a": _Driver("p1"), "b": _Driver("p1")}
    drivers[late].held = held = asyncio.Event()
    registry = _registry(**drivers)
    asking = asyncio.create_task(registry.list_pools())
    making = asyncio.create_task(_create(registry, adopts=False))
    for _ in range(9):
        await asyncio.sleep(0)
    held.set()
    assert all("copy of the other" in pool.problem for pool in await asking)
    with pytest.raises(RpcError):
        await making
    assert [] == drivers["a"].made + drivers["b"].made


async def test_an_answer_that_comes_after_its_driver_left_is_not_its_word() -> None:
    """Nobody would ask it again, and what it reports would never be lost."""
    a, b = _Driver("p1"), _Driver("p2")
    a.held = asyncio.Event()
    registry = _registry(a=a, b=b)
    asking = asyncio.create_task(registry.pools_on("a"))
    await asyncio.sleep(0)
    registry.leave("a")
    a.held.set()
    await asking
    assert [] == registry.reporting("p1")


@pytest.mark.limit("unsynced-driver")
async def test_a_driver_is_heard_when_it_told_both_manifests_and_trash() -> None:
    """I2: of one that told its trash alone nobody can say which volumes it has."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests, a.slow = [_manifest("p1")], True
    registry = DriverRegistry({"a": cast(DriverClient, a), "b": cast(DriverClient, b)}, expected=lambda: ["a", "b"])
    await registry.refresh()
    a.away = True
    with pytest.raises(DriverUnavailable, match="node a has a pool"):
        await _create(registry, "b")
    assert [] == b.made


async def test_what_half_a_driver_told_counts() -> None:
    """I2: its manifests are known though its trash is not, and nobody expects it."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    registry = _registry(a=a, b=b)
    await registry.list_manifests()
    a.away = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")


@pytest.mark.limit("unsynced-driver")
async def test_a_driver_that_was_never_heard_makes_everybody_wait() -> None:
    """I2: it has a pool, as the API knows, and nobody can say what is in it."""
    a, b = _Driver("p1"), _Driver("p2")
    a.away = True
    drivers = {"a": cast(DriverClient, a), "b": cast(DriverClient, b)}
    expected = ["a", "b"]
    registry = DriverRegistry(drivers, expected=lambda: expected)
    with pytest.raises(DriverUnavailable, match=r"node a has a pool.*delete the Node"):
        await _create(registry, "b")
    assert "p2.pvc-c2" == await _create(_registry(b=b), "b", adopts=False)
    expected.remove("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_an_interrupted_making_is_no_former_volume() -> None:
    """Nobody was ever given it, and a claim made anew must not wait for it for ever."""
    a = _Driver("p1")
    a.manifests, a.trash = [_manifest("p1", state="creating")], [_manifest("p1", "pvc-c0", state="creating")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a")


async def test_the_fence_lets_a_retry_through() -> None:
    """A volume under the very name that is asked for is an earlier try, not a former volume."""
    a = _Driver("p1")
    a.manifests = [_manifest("p1", "pvc-c2")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a")


async def test_a_class_that_never_adopts_has_no_fence() -> None:
    """With adopt Never a claim made anew wants an empty volume."""
    a = _Driver("p1")
    a.manifests = [_manifest("p1")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a", adopts=False)


async def test_a_lone_driver_that_is_away_is_no_answer() -> None:
    """An empty list would mean that no claim had a volume before."""
    a = _Driver("p1")
    a.away = True
    with pytest.raises(DriverUnavailable):
        await _registry(a=a).list_manifests()
