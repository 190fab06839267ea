"""The driver registry: which drivers are called, the cached inventory of unavailable ones, and the fence."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import grpc
import pytest

from csi.v1 import inventory_pb2
from provisioner.drivers.client import (
    Created,
    DriverClient,
    DriverUnavailable,
    FormerVolumeError,
    RpcError,
    VolumeRequest,
    capability,
)
from provisioner.drivers.registry import DriverRegistry
from provisioner.model.names import HOLDER_CLAIM, HOLDER_CLAIM_UID, HOLDER_NAMESPACE_UID

CLAIM_LABELS = {HOLDER_NAMESPACE_UID: "n1", HOLDER_CLAIM: "www-web-0"}
OWNER = {**CLAIM_LABELS, HOLDER_CLAIM_UID: "c2"}
MOUNT = capability(modes=["ReadWriteOnce"], volume_mode="Filesystem", fs_type="", mount_flags=())
GI = 1 << 30


class _Driver:
    """A fake driver that may be unavailable, time out for its manifests, or wait for a gate before it lists pools."""

    def __init__(self, *pools: str, available_bytes: int = GI) -> None:
        self.pools = list(pools)
        self.available_bytes = available_bytes
        self.unavailable = False
        self.manifests_time_out = False
        self.pools_gate: asyncio.Event | None = None
        self.manifests: list[inventory_pb2.Manifest] = []
        self.trash: list[inventory_pb2.Manifest] = []
        self.created: list[str] = []
        self.deleted: list[str] = []

    def _check_available(self) -> None:
        if self.unavailable:
            raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="no driver")

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        if self.pools_gate is not None:
            await self.pools_gate.wait()
        self._check_available()
        return [
            inventory_pb2.Pool(
                uuid=uuid, name="main", available_bytes=self.available_bytes, backends=["directory", "loop"]
            )
            for uuid in self.pools
        ]

    async def list_manifests(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.Manifest]:
        self._check_available()
        if self.manifests_time_out:
            raise DriverUnavailable(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="too slow")
        return [each for each in self.manifests if (labels or {}).items() <= dict(each.holder.labels).items()]

    async def list_trash(self, labels: Mapping[str, str] | None = None) -> list[inventory_pb2.TrashEntry]:
        self._check_available()
        found = [each for each in self.trash if (labels or {}).items() <= dict(each.holder.labels).items()]
        return [inventory_pb2.TrashEntry(manifest=each) for each in found]

    async def create_volume(self, desired: VolumeRequest) -> Created:
        self._check_available()
        self.created.append(desired.name)
        return Created(handle=f"{self.pools[0]}.{desired.name}", capacity_bytes=desired.required_bytes, context={})

    async def delete_volume(self, handle: str) -> None:
        self._check_available()
        self.deleted.append(handle)

    async def close(self) -> None:
        self.unavailable = True


def _registry(**drivers: _Driver) -> DriverRegistry:
    return DriverRegistry({node: cast(DriverClient, driver) for node, driver in drivers.items()})


def _manifest(pool: str, name: str = "pvc-c1", *, state: str = "ready", uid: str = "c1") -> inventory_pb2.Manifest:
    manifest = inventory_pb2.Manifest(volume_id=f"{pool}.{name}", csi_name=name, pool_uuid=pool, state=state)
    manifest.holder.labels.update({**CLAIM_LABELS, HOLDER_CLAIM_UID: uid})
    return manifest


async def _create(
    registry: DriverRegistry, node: str = "", *, adopts: bool = True, size: int = 4096, **extra: Any
) -> str:
    desired = VolumeRequest(name="pvc-c2", required_bytes=size, capabilities=[MOUNT], parameters=OWNER, node=node)
    return (await registry.create_volume(desired, may_have_former=adopts, **extra)).handle


async def test_a_volume_is_created_on_the_node_that_the_scheduler_chose() -> None:
    """The driver of the other node gets no CreateVolume call."""
    a, b = _Driver("p1"), _Driver("p2")
    assert "p2.pvc-c2" == await _create(_registry(a=a, b=b), "b")
    assert [] == a.created


async def test_without_a_scheduler_the_pool_with_most_free_capacity_is_chosen() -> None:
    """Immediate binding: the choice is among the candidates; RESOURCE_EXHAUSTED when none has enough free capacity."""
    registry = _registry(a=_Driver("p1", available_bytes=3 * GI), b=_Driver("p2", available_bytes=2 * GI))
    assert "p1.pvc-c2" == await _create(registry)
    assert "p2.pvc-c2" == await _create(registry, candidates={"b"})
    with pytest.raises(RpcError) as refused:
        await _create(registry, size=9 * GI)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.value.code


async def test_a_retry_goes_to_the_node_of_the_first_attempt() -> None:
    """Otherwise the claim would have two volumes (I1)."""
    a, b = _Driver("p1", available_bytes=1), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", state="creating", uid="c2")]
    assert "p1.pvc-c2" == await _create(_registry(a=a, b=b))
    assert [] == b.created


async def test_the_volume_of_a_first_attempt_on_another_node_is_deleted() -> None:
    """The scheduler chose another node; the first volume was never bound to a claim."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", uid="c2")]
    assert "p2.pvc-c2" == await _create(_registry(a=a, b=b), "b")
    assert ["p1.pvc-c2"] == a.deleted


async def test_a_first_attempt_on_an_unavailable_node_blocks_the_retry() -> None:
    """Its volume may have been created; on another node the claim would get a second one (I1)."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1", "pvc-c2", uid="c2")]
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.unavailable = True
    with pytest.raises(DriverUnavailable):
        await _create(registry, "b")
    assert [] == b.created


async def test_calls_for_a_volume_follow_its_pool() -> None:
    """The handle has the UUID of the pool, on whichever node its disk is now."""
    a, b = _Driver("p1"), _Driver("p2")
    registry = _registry(a=a, b=b)
    await registry.delete_volume("p2.x")
    a.pools, b.pools = ["p1", "p2"], []
    await registry.refresh()
    await registry.delete_volume("p2.y")
    assert (["p2.y"], ["p2.x"]) == (a.deleted, b.deleted)


@pytest.mark.limit("copied-pool")
async def test_a_disk_moved_from_a_failed_node_is_found_on_its_new_node() -> None:
    """The failed node loses its pool label; when it comes back with a copy of the disk, calls to both are refused."""
    a, b = _Driver("p1"), _Driver()
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.unavailable, b.pools = True, ["p1"]
    await registry.refresh()
    await registry.delete_volume("p1.x")
    assert (["p1.x"], frozenset({"p1"})) == (b.deleted, registry.moved_from("a"))
    a.unavailable = False
    await registry.refresh()
    assert all("copy of the other" in pool.problem for pool in await registry.list_pools())
    with pytest.raises(DriverUnavailable, match="a and b"):
        await registry.delete_volume("p1.y")


@pytest.mark.parametrize("in_trash", [False, True])
async def test_a_claim_with_a_former_volume_gets_no_new_one(in_trash: bool) -> None:
    """I2: the fence refuses the call on every node, also when the former volume is on another one."""
    a, b = _Driver("p1"), _Driver("p2")
    (a.trash if in_trash else a.manifests).append(_manifest("p1"))
    with pytest.raises(FormerVolumeError) as refused:
        await _create(_registry(a=a, b=b), "b")
    assert (grpc.StatusCode.FAILED_PRECONDITION, "p1.pvc-c1") == (refused.value.code, refused.value.handle)
    assert [] == a.created + b.created


async def test_the_inventory_of_an_unavailable_driver_counts() -> None:
    """I2: its last inventory counts until its node is deleted."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.unavailable = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    registry.leave("a")
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    registry.forget("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_the_inventory_of_a_deleted_node_is_ignored() -> None:
    """Its driver may leave after the Node is deleted; a recreated claim must not wait for it for ever."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    gone: set[str] = set()
    registry = DriverRegistry({"a": cast(DriverClient, a), "b": cast(DriverClient, b)}, gone=gone.__contains__)
    await registry.refresh()
    a.unavailable = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")
    gone.add("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_only_drivers_that_respond_report_a_pool() -> None:
    """The cached inventory of an unavailable driver is no report; a duplicate pool is reported by both drivers."""
    a, b = _Driver("p1"), _Driver("p1")
    registry = _registry(a=a, b=b)
    await registry.refresh()
    assert (["a", "b"], []) == (registry.reporting("p1"), registry.reporting("p2"))
    a.unavailable = True
    await registry.refresh()
    assert ["b"] == registry.reporting("p1")


async def test_a_pending_request_makes_no_driver_unavailable() -> None:
    """The last response of a driver counts until a request fails, also with overlapping requests."""
    a, b = _Driver("p1"), _Driver("p1")
    registry = _registry(a=a, b=b)
    await registry.refresh()
    a.pools_gate = asyncio.Event()
    pending = asyncio.create_task(registry.pools_on("a"))
    await asyncio.sleep(0)
    assert ["a", "b"] == registry.reporting("p1")
    [duplicate] = await registry.pools_on("b")
    assert "copy of the other" in duplicate.problem
    a.unavailable = True
    a.pools_gate.set()
    with pytest.raises(DriverUnavailable):
        await pending
    assert ["b"] == registry.reporting("p1")


@pytest.mark.parametrize("late", ["a", "b"])
async def test_duplicate_pools_are_evaluated_after_all_responses(late: str) -> None:
    """This includes the first request: the driver of a cloned disk that responds first gets no volume either."""
    drivers = {"a": _Driver("p1"), "b": _Driver("p1")}
    drivers[late].pools_gate = pools_gate = asyncio.Event()
    registry = _registry(**drivers)
    listing = asyncio.create_task(registry.list_pools())
    creating = asyncio.create_task(_create(registry, adopts=False))
    for _ in range(9):
        await asyncio.sleep(0)
    pools_gate.set()
    assert all("copy of the other" in pool.problem for pool in await listing)
    with pytest.raises(RpcError):
        await creating
    assert [] == drivers["a"].created + drivers["b"].created


async def test_a_response_after_its_driver_left_does_not_count() -> None:
    """The driver is not asked again, so its report would never be removed."""
    a, b = _Driver("p1"), _Driver("p2")
    a.pools_gate = asyncio.Event()
    registry = _registry(a=a, b=b)
    listing = asyncio.create_task(registry.pools_on("a"))
    await asyncio.sleep(0)
    registry.leave("a")
    a.pools_gate.set()
    await listing
    assert [] == registry.reporting("p1")


@pytest.mark.limit("unsynced-driver")
async def test_a_driver_is_synced_after_both_manifests_and_trash() -> None:
    """I2: the volumes of a driver that has reported only its trash are not known."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests, a.manifests_time_out = [_manifest("p1")], True
    registry = DriverRegistry({"a": cast(DriverClient, a), "b": cast(DriverClient, b)}, expected=lambda: ["a", "b"])
    await registry.refresh()
    a.unavailable = True
    with pytest.raises(DriverUnavailable, match="node a has a pool"):
        await _create(registry, "b")
    assert [] == b.created


async def test_manifests_count_before_the_driver_is_synced() -> None:
    """I2: the manifests are known though the trash is not, and the driver is not expected."""
    a, b = _Driver("p1"), _Driver("p2")
    a.manifests = [_manifest("p1")]
    registry = _registry(a=a, b=b)
    await registry.list_manifests()
    a.unavailable = True
    with pytest.raises(FormerVolumeError):
        await _create(registry, "b")


@pytest.mark.limit("unsynced-driver")
async def test_a_driver_that_never_synced_blocks_every_adopting_claim() -> None:
    """I2: its node has a pool label, and the volumes of that pool are not known."""
    a, b = _Driver("p1"), _Driver("p2")
    a.unavailable = True
    drivers = {"a": cast(DriverClient, a), "b": cast(DriverClient, b)}
    expected = ["a", "b"]
    registry = DriverRegistry(drivers, expected=lambda: expected)
    with pytest.raises(DriverUnavailable, match=r"node a has a pool.*delete the Node"):
        await _create(registry, "b")
    assert "p2.pvc-c2" == await _create(_registry(b=b), "b", adopts=False)
    expected.remove("a")
    assert "p2.pvc-c2" == await _create(registry, "b")


async def test_an_interrupted_creation_is_no_former_volume() -> None:
    """It was never bound to a claim, and a recreated claim must not wait for it for ever."""
    a = _Driver("p1")
    a.manifests, a.trash = [_manifest("p1", state="creating")], [_manifest("p1", "pvc-c0", state="creating")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a")


async def test_the_fence_lets_a_retry_through() -> None:
    """A volume of the requested name is an earlier attempt, not a former volume."""
    a = _Driver("p1")
    a.manifests = [_manifest("p1", "pvc-c2")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a")


async def test_a_class_that_never_adopts_has_no_fence() -> None:
    """With adopt Never a recreated claim gets an empty volume."""
    a = _Driver("p1")
    a.manifests = [_manifest("p1")]
    assert "p1.pvc-c2" == await _create(_registry(a=a), "a", adopts=False)


async def test_an_unavailable_only_driver_is_an_error() -> None:
    """An empty list would mean that no claim has a former volume."""
    a = _Driver("p1")
    a.unavailable = True
    with pytest.raises(DriverUnavailable):
        await _registry(a=a).list_manifests()
