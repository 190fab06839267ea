"""A renamed node has the same disks."""

import pytest

from tests.cluster.installing import wait
from tests.cluster.running import Running
from tests.cluster.sets import bound, hosts, placed, rolled_out, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

NEW = "node-renamed"
NODE_SECONDS = 300.0
"""
How long kubelet may take to initialize the CSINode of a new name, before which no driver is registered.

It tries six times with pauses that grow eightfold: a Node created after 18 seconds is seen after 140 seconds only.
Source: initializeCSINode in pkg/volume/csi/csi_plugin.go.
"""


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
        until(lambda: _ready(mooring, NEW), "the node is there under its new name", seconds=NODE_SECONDS)
        until(lambda: placed(mooring, namespace).get(moved) == NEW, "the pod runs there", seconds=NODE_SECONDS)
        rolled_out(mooring, namespace)
        assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
        assert volumes == bound(mooring, namespace)
    until(lambda: _ready(mooring, old), "the node has its former name again", seconds=NODE_SECONDS)
    wait(mooring)
    until(lambda: placed(mooring, namespace).get(moved) == old, "the pod is back", seconds=NODE_SECONDS)
    rolled_out(mooring, namespace)
    assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
