"""Pools as labels of the node that has them."""

from csi.v1 import inventory_pb2
from provisioner.controllers.pools import Pools, healthy, label_changes
from provisioner.kube.control import RequeueAfter
from provisioner.model.kinds import NODE
from tests.unit.controllers.fake_api import FakeApi
from tests.unit.controllers.objects import POOL, node

KEY = f"pool.mooring.dev/{POOL}"


class _Driver:
    def __init__(self, *pools: inventory_pb2.Pool) -> None:
        self._pools = list(pools)

    async def list_pools(self) -> list[inventory_pb2.Pool]:
        return self._pools


async def test_a_pool_becomes_a_label_and_goes_with_it() -> None:
    """The label is there exactly while the driver has the pool; the other labels are left alone."""
    api = FakeApi((NODE, node("gone")))
    driver = _Driver(inventory_pb2.Pool(uuid=POOL))
    result = await Pools(api, api.caches, router=driver, node="n").reconcile(("", "n"))
    assert isinstance(result, RequeueAfter)
    assert {"topology.mooring.dev/node": "n", KEY: "present"} == api.all(NODE)[0]["metadata"]["labels"]


async def test_nothing_is_written_when_nothing_changed() -> None:
    """A second look makes no second write."""
    api = FakeApi((NODE, node(POOL)))
    await Pools(api, api.caches, router=_Driver(inventory_pb2.Pool(uuid=POOL)), node="n").reconcile(("", "n"))
    assert [] == api.writes


async def test_other_nodes_are_not_touched() -> None:
    """The driver of this node says nothing about another one."""
    api = FakeApi((NODE, node("gone")))
    await Pools(api, api.caches, router=_Driver(), node="other").reconcile(("", "n"))
    assert [] == api.writes


def test_a_pool_with_a_problem_or_a_double_is_none() -> None:
    """A pool that cannot be used, and a UUID seen twice (a cloned disk), are refused."""
    sick = inventory_pb2.Pool(uuid="a", problem="not mounted")
    twins = [inventory_pb2.Pool(uuid="b"), inventory_pb2.Pool(uuid="b")]
    assert frozenset({"c"}) == healthy([sick, *twins, inventory_pb2.Pool(uuid="c")])


def test_a_label_with_another_value_is_set_right() -> None:
    """The value is always `present`."""
    assert {KEY: "present"} == label_changes({KEY: "no"}, frozenset({POOL}))
