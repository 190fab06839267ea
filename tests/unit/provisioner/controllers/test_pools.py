"""Pools as labels of the node that has them."""

from csi.v1 import inventory_pb2
from provisioner.controllers.pools import Pools, healthy, label_changes
from provisioner.kube.control import RequeueAfter
from provisioner.model.kinds import NODE
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import POOL, node

KEY = f"pool.mooring.dev/{POOL}"


class _Drivers:
    """The driver of node `n`, or none; `moved` are the pools that another node has by now."""

    def __init__(self, *pools: inventory_pb2.Pool, away: bool = False, moved: frozenset[str] = frozenset()) -> None:
        self._pools = list(pools)
        self._away = away
        self._moved = moved
        self.forgotten: list[str] = []

    def nodes(self) -> list[str]:
        return [] if self._away else ["n"]

    async def pools_on(self, node: str) -> list[inventory_pb2.Pool]:
        assert node == "n"
        return self._pools

    def moved_from(self, node: str) -> frozenset[str]:
        assert node == "n"
        return self._moved

    def forget(self, node: str) -> None:
        self.forgotten.append(node)


async def test_a_pool_becomes_a_label_and_goes_with_it() -> None:
    """The label is there exactly while the driver has the pool; the other labels are left alone."""
    api = FakeApi((NODE, node("gone")))
    drivers = _Drivers(inventory_pb2.Pool(uuid=POOL))
    result = await Pools(api, api.caches, drivers=drivers).reconcile(("", "n"))
    assert isinstance(result, RequeueAfter)
    assert {"topology.mooring.dev/node": "n", KEY: "present"} == api.all(NODE)[0]["metadata"]["labels"]


async def test_nothing_is_written_when_nothing_changed() -> None:
    """A second look makes no second write."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(inventory_pb2.Pool(uuid=POOL))).reconcile(("", "n"))
    assert [] == api.writes


async def test_the_labels_of_a_node_whose_driver_is_away_stay() -> None:
    """A driver that is replaced or starting says nothing about its disks."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(away=True)).reconcile(("", "n"))
    assert [] == api.writes


async def test_a_disk_that_went_to_another_node_takes_its_label_along() -> None:
    """Its former node is away; the scheduler must not wait for that one."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, drivers=_Drivers(away=True, moved=frozenset({POOL, "x"}))).reconcile(("", "n"))
    assert {"topology.mooring.dev/node": "n"} == api.all(NODE)[0]["metadata"]["labels"]


async def test_a_node_that_is_gone_is_forgotten() -> None:
    """What its driver once said counts no longer."""
    api, drivers = FakeApi(), _Drivers()
    await Pools(api, api.caches, drivers=drivers).reconcile(("", "n"))
    assert ["n"] == drivers.forgotten


def test_a_pool_with_a_problem_or_a_double_is_none() -> None:
    """A pool that cannot be used, and a UUID seen twice (a cloned disk), are refused."""
    sick = inventory_pb2.Pool(uuid="a", problem="not mounted")
    twins = [inventory_pb2.Pool(uuid="b"), inventory_pb2.Pool(uuid="b")]
    assert frozenset({"c"}) == healthy([sick, *twins, inventory_pb2.Pool(uuid="c")])


def test_a_label_with_another_value_is_set_right() -> None:
    """The value is always `present`."""
    assert {KEY: "present"} == label_changes({KEY: "no"}, frozenset({POOL}))


async def test_a_renamed_node_loses_its_former_name() -> None:
    """Kubelet would refuse the driver as long as the label says another name than the driver does."""
    renamed = node(POOL)
    renamed["metadata"]["labels"]["topology.mooring.dev/node"] = "former"
    api = FakeApi((NODE, renamed))
    await Pools(api, api.caches, drivers=_Drivers(away=True)).reconcile(("", "n"))
    assert {KEY: "present"} == api.all(NODE)[0]["metadata"]["labels"]
