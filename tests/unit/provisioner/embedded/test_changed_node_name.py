"""Tests of an engine whose node has another name than before: nothing waits for the former Node."""

from typing import cast

from provisioner.embedded.bootstrap import bootstrap
from provisioner.embedded.controlplane.claim_binder import ClaimBinder, Driver
from provisioner.embedded.kubelet.node_object import objects
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, CSI_NODE, NODE, STORAGE_CLASS
from provisioner.model.names import SELECTED_NODE
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import claim, node, storage_class


async def test_the_node_of_a_former_name_is_deleted_and_other_nodes_stay() -> None:
    """A Node that an engine created is recognized by its labels."""
    before, csi_node, _ = objects("before")
    api = FakeApi((NODE, before), (CSI_NODE, csi_node), (NODE, {"metadata": {"name": "by-hand"}}))

    await bootstrap(cast(Transport, api), node_name="after")

    assert [each["metadata"]["name"] for each in api.all(NODE)] == ["after", "by-hand"]
    assert [each["metadata"]["name"] for each in api.all(CSI_NODE)] == ["after"]


async def test_a_selected_node_that_does_not_exist_is_removed_from_the_claim() -> None:
    """An Event reports it; the scheduler then selects another node."""
    waiting = claim()
    waiting["metadata"]["annotations"] = {SELECTED_NODE: "worker-7"}
    api = FakeApi((NODE, node()), (CLAIM, waiting), (STORAGE_CLASS, storage_class()))
    binder = ClaimBinder(api, api.caches, api.recorder, drivers=cast(Driver, None))

    await binder.reconcile(("default", waiting["metadata"]["name"]))

    assert SELECTED_NODE not in (api.all(CLAIM)[0]["metadata"].get("annotations") or {})
    assert [each[1] for each in api.events] == ["SelectedNodeNotFound"]
    api.put(NODE, {"metadata": {"name": "worker-7"}})
    assert [*binder.watches()[NODE]({"metadata": {"name": "worker-7"}})] == []
    assert [*binder.watches()[NODE]({"metadata": {"name": "deleted"}})] == [("default", "www-web-0")]
