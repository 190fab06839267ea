"""A renamed node has the same disks."""

import pytest

from tests.cluster.installing import wait
from tests.cluster.running import Running
from tests.cluster.sets import bound, hosts, placed, rolled_out, until, web

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

NEW = "node-renamed"


def _ready(cluster: Running, node: str) -> bool:
    nodes = cluster.json("get", "nodes")["items"]
    return any(
        each["metadata"]["name"] == node
        and any(one["type"] == "Ready" and one["status"] == "True" for one in each["status"].get("conditions", ()))
        for each in nodes
    )


def test_a_renamed_node_keeps_its_volumes(mooring: Running, namespace: str) -> None:
    """Volumes follow the pool: the pod runs on the node under its new name with its data, and again under the former one."""
    old = mooring.nodes[1]
    mooring.apply(namespace, *web("mooring-loop", size="64Mi", podManagementPolicy="Parallel"))
    rolled_out(mooring, namespace)
    [moved] = [pod for pod, node in placed(mooring, namespace).items() if node == old]
    volumes = bound(mooring, namespace)
    with mooring.on(old).renamed(NEW):
        until(lambda: _ready(mooring, NEW), "the node is there under its new name", seconds=120)
        until(lambda: placed(mooring, namespace).get(moved) == NEW, "the pod runs there", seconds=180)
        rolled_out(mooring, namespace)
        assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
        assert volumes == bound(mooring, namespace)
    until(lambda: _ready(mooring, old), "the node has its former name again", seconds=120)
    wait(mooring)
    until(lambda: placed(mooring, namespace).get(moved) == old, "the pod is back", seconds=180)
    rolled_out(mooring, namespace)
    assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
