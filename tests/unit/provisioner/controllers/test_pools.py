"""Pools as labels of the node that has them."""

from csi.v1 import inventory_pb2
from provisioner.controllers.pools import Pools, healthy, label_changes
from provisioner.kube.control import RequeueAfter
from provisioner.model.kinds import NODE
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import POOL, node

KEY = f"pool.mooring.dev/{POOL}"


class _Drivers:
    """The driver of node `n`, or none; `moved` are the pools that another node has now."""

    def __init__(
        self, *pools: inventory_pb2.Pool, unavailable: bool = False, moved: frozenset[str] = frozenset()
    ) -> None:
        self._pools = list(pools)
        self._unavailable = unavailable
        self._moved = moved
        self.forgotten: list[str] = []

    def nodes(self) -> list[str]:
        return [] if self._unavailable else ["n"]

    async def pools_on(self, node: str) -> list[inventory_pb2.Pool]:
        assert node == "n"
        return self._pools

    def moved_from(self, node: str) -> frozenset[str]:
        assert node == "n"
        return self._moved

    def forget(self, node: str) -> None:
        self.forgotten.append(node)


async def test_a_node_has_a_label_while_its_driver_has_the_pool() -> None:
    """Other labels are not changed."""
    api = FakeApi((NODE, node("gone")))
    drivers = _Drivers(inventory_pb2.Pool(uuid=POOL))
    result = await Pools(api, api.caches, drivers=drivers).reconcile(("", "n"))
    assert isinstance(result, RequeueAfter)
    assert {"topology.mooring.dev/node": "n", KEY: "present"} == api.all(NODE)[0]["metadata"]["labels"]


async def test_nothing_is_written_when_nothing_changed() -> None:
    """A second reconciliation makes no second write."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(inventory_pb2.Pool(uuid=POOL))).reconcile(("", "n"))
    assert [] == api.writes


async def test_the_labels_stay_while_the_driver_is_unavailable() -> None:
    """The disks of a driver that is replaced or starting are not lost."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(unavailable=True)).reconcile(("", "n"))
    assert [] == api.writes


async def test_the_label_of_a_disk_that_moved_is_removed_from_an_unavailable_node() -> None:
    """The scheduler must not wait for the former node."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(unavailable=True, moved=frozenset({POOL, "x"}))).reconcile(("", "n"))
    assert {"topology.mooring.dev/node": "n"} == api.all(NODE)[0]["metadata"]["labels"]


async def test_a_deleted_node_is_forgotten() -> None:
    """What its driver reported is not used any more."""
    api, drivers = FakeApi(), _Drivers()
    await Pools(api, api.caches, drivers=drivers).reconcile(("", "n"))
    assert ["n"] == drivers.forgotten


def test_unhealthy_and_duplicate_pools_get_no_label() -> None:
    """A pool with a problem, and a UUID that is reported twice (a cloned disk), are not usable."""
    unhealthy = inventory_pb2.Pool(uuid="a", problem="not mounted")
    duplicates = [inventory_pb2.Pool(uuid="b"), inventory_pb2.Pool(uuid="b")]
    assert frozenset({"c"}) == healthy([unhealthy, *duplicates, inventory_pb2.Pool(uuid="c")])


def test_a_label_with_another_value_is_corrected() -> None:
    """The value is always `present`."""
    assert {KEY: "present"} == label_changes({KEY: "no"}, frozenset({POOL}))


async def test_a_renamed_node_loses_its_former_name() -> None:
    """Kubelet would refuse the driver while the label has another name than the driver reports."""
    renamed = node(POOL)
    renamed["metadata"]["labels"]["topology.mooring.dev/node"] = "former"
    api = FakeApi((NODE, renamed))
    await Pools(api, api.caches, drivers=_Drivers(unavailable=True)).reconcile(("", "n"))
    assert {KEY: "present"} == api.all(NODE)[0]["metadata"]["labels"]
