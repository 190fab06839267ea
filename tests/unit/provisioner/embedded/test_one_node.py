"""Tests that the engine has one node."""

import pytest

from provisioner.embedded.bootstrap import bootstrap
from provisioner.embedded.kubelet import node_object
from provisioner.model.kinds import NODE
from tests.unit.provisioner.controllers.fake_api import FakeApi


@pytest.mark.limit("one-node")
async def test_the_engine_creates_one_node_however_often_it_starts() -> None:
    """A node with the same name is not created again."""
    api = FakeApi()
    await bootstrap(api, node_name="n")
    await bootstrap(api, node_name="n")

    assert [each["metadata"]["name"] for each in api.all(NODE)] == ["n"]


def test_the_node_has_the_machines_resources() -> None:
    """`kubectl describe node` divides by them."""
    resources = node_object.resources()

    assert int(resources["cpu"]) > 0
    assert int(resources["memory"].removesuffix("Ki")) > 1 << 10
