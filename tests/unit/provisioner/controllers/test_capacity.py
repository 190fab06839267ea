"""The free capacity of pools that is published for the scheduler."""

import pytest

from csi.v1 import inventory_pb2
from provisioner.actions.persistent_volume import affinity
from provisioner.controllers.capacity import ALL, Capacity, foreign
from provisioner.model.kinds import CSI_STORAGE_CAPACITY, STORAGE_CLASS, Json
from provisioner.model.selector import LabelSelector, NodeSelector
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import POOL, storage_class

OTHER = "8f9f6a52-5d53-4d3f-8ac5-70f3ad2c4a22"


class _Drivers:
    def __init__(self, *pools: inventory_pb2.Pool) -> None:
        self.pools = list(pools)

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        return self.pools


def _pool(uuid: str = POOL, name: str = "main", available: int = 10 << 30, problem: str = "") -> inventory_pb2.Pool:
    return inventory_pb2.Pool(uuid=uuid, name=name, available_bytes=available, backends=["directory"], problem=problem)


def _class(name: str, **parameters: str) -> Json:
    found = storage_class(**parameters)
    found["metadata"]["name"] = name
    return found


async def _published(api: FakeApi, drivers: _Drivers) -> dict[tuple[str, str], str]:
    await Capacity(api, api.caches, drivers=drivers, namespace="m").reconcile(ALL)
    found = {}
    for each in api.all(CSI_STORAGE_CAPACITY, "m"):
        [label] = each["nodeTopology"]["matchLabels"].items()
        assert label[1] == "present"
        found[each["storageClassName"], label[0].removeprefix("pool.mooring.dev/")] = each["capacity"]
    return found


async def test_each_class_has_one_object_for_each_pool_that_serves_it() -> None:
    """Backend and pool name decide; the object names the pool's label, so that it follows the disk."""
    api = FakeApi(
        (STORAGE_CLASS, _class("any")),
        (STORAGE_CLASS, _class("fast", pool="fast")),
        (STORAGE_CLASS, _class("wrong", size="big")),
        (STORAGE_CLASS, _class("looped") | {"parameters": {"backend": "loop"}}),
        (STORAGE_CLASS, _class("foreign") | {"provisioner": "other"}),
    )
    drivers = _Drivers(_pool(), _pool(OTHER, "fast", 1 << 30))
    assert {("any", POOL): "10Gi", ("any", OTHER): "1Gi", ("fast", OTHER): "1Gi"} == await _published(api, drivers)


async def test_a_missing_or_unhealthy_pool_has_no_capacity() -> None:
    """The scheduler does not choose its node."""
    api = FakeApi((STORAGE_CLASS, _class("any")))
    assert 2 == len(await _published(api, _Drivers(_pool(), _pool(OTHER))))
    assert {("any", OTHER): "10Gi"} == await _published(api, _Drivers(_pool(problem="not mounted"), _pool(OTHER)))
    assert {} == await _published(api, _Drivers())


async def test_only_considerable_changes_are_written() -> None:
    """The free space of a disk changes all the time; a change to no free capacity is always written."""
    api = FakeApi((STORAGE_CLASS, _class("any")))
    drivers = _Drivers(_pool(available=1000 << 20))
    await _published(api, drivers)
    writes = len(api.writes)
    drivers.pools = [_pool(available=995 << 20)]
    await _published(api, drivers)
    assert writes == len(api.writes)
    drivers.pools = [_pool(available=900 << 20)]
    assert {("any", POOL): "900Mi"} == await _published(api, drivers)
    drivers.pools = [_pool(available=-4096)]
    assert {("any", POOL): "0"} == await _published(api, drivers)


async def test_objects_of_other_provisioners_are_not_changed() -> None:
    """Neither those of another driver in the same namespace, nor those that another provisioner has for our driver."""
    labels = {
        "csi.storage.k8s.io/drivername": "csi.mooring.dev",
        "csi.storage.k8s.io/managed-by": "external-provisioner",
    }
    other: Json = {
        "metadata": {"name": "csisc-1", "namespace": "m", "labels": labels},
        "storageClassName": "any",
        "nodeTopology": {"matchLabels": {"x": "present"}},
        "capacity": "1Gi",
    }
    api = FakeApi((CSI_STORAGE_CAPACITY, other))
    await _published(api, _Drivers())
    assert [] == api.writes
    assert "external-provisioner serves the driver csi.mooring.dev too (CSIStorageCapacity m/csisc-1)" in foreign(
        [other]
    )
    managed = {"metadata": {**other["metadata"], "labels": {**labels, "csi.storage.k8s.io/managed-by": "mooring"}}}
    assert "" == foreign([managed])


@pytest.mark.limit("template-nodes")
async def test_template_nodes_of_cluster_autoscaler_have_no_pool() -> None:
    """
    A template node has a copy of a real node's labels: neither capacity nor a volume's affinity may match it.

    The real node matches both, whatever other labels it has.
    """
    api = FakeApi((STORAGE_CLASS, _class("any")))
    await Capacity(api, api.caches, drivers=_Drivers(_pool()), namespace="m").reconcile(ALL)
    [capacity] = api.all(CSI_STORAGE_CAPACITY, "m")
    topology = LabelSelector.of(capacity["nodeTopology"])
    reached = NodeSelector.of(affinity(POOL)["required"])
    real = {f"pool.mooring.dev/{POOL}": "present", "kubernetes.io/hostname": "n"}
    template_node = {
        **real,
        "kubernetes.io/hostname": "template-1",
        "cluster-autoscaler.kubernetes.io/template-node": "",
    }

    for selector in (topology, reached):
        assert selector.matches(real)
        assert selector.matches({**real, "cluster-autoscaler.kubernetes.io/other": "x"})
        assert not selector.matches(template_node)
        assert not selector.matches({"kubernetes.io/hostname": "n"})


async def test_a_template_node_has_the_configured_capacity_and_no_real_pool() -> None:
    """
    With a size for new nodes, each class has one object that matches template nodes only; without it, none has.

    A template node matches that object and no real pool's, a real node its pool's and not that one.
    """
    api = FakeApi((STORAGE_CLASS, _class("any")), (STORAGE_CLASS, _class("fast", pool="fast")))
    drivers = _Drivers(_pool(), _pool(OTHER, "fast"))

    async def reconcile(template_bytes: int) -> list[Json]:
        controller = Capacity(api, api.caches, drivers=drivers, namespace="m", template_bytes=template_bytes)
        await controller.reconcile(ALL)
        return api.all(CSI_STORAGE_CAPACITY, "m")

    def matched(objects: list[Json], labels: dict[str, str]) -> dict[str, str]:
        found = [each for each in objects if LabelSelector.of(each["nodeTopology"]).matches(labels)]
        assert len({each["storageClassName"] for each in found}) == len(found)
        return {each["storageClassName"]: each["capacity"] for each in found}

    real = {f"pool.mooring.dev/{POOL}": "present", "kubernetes.io/hostname": "n"}
    template_node = {**real, "cluster-autoscaler.kubernetes.io/template-node": "true"}
    before = await reconcile(0)
    assert matched(before, template_node) == {}
    with_templates = await reconcile(100 << 30)
    assert matched(with_templates, template_node) == {"any": "100Gi", "fast": "100Gi"}
    assert matched(with_templates, real) == matched(before, real) == {"any": "10Gi"}
    assert matched(await reconcile(50 << 30), template_node) == {"any": "50Gi", "fast": "50Gi"}
    drivers.pools = []
    assert matched(await reconcile(50 << 30), template_node) == {"any": "50Gi", "fast": "50Gi"}
    assert await reconcile(0) == []
