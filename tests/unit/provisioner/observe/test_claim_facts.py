"""The facts about a claim, and the handling of an invalid object."""

from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NODE, STORAGE_CLASS, VOLUME
from provisioner.observe.claim_facts import gather
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import claim, node, volume


async def test_an_invalid_object_is_left_out_and_blocks_no_claim() -> None:
    """A volume of another user with an invalid capacity must not block every claim."""
    odd = volume()
    odd["metadata"]["name"] = "odd"
    odd["spec"]["capacity"]["storage"] = "lots"
    cls = {"metadata": {"name": "mooring-directory"}, "provisioner": "other"}
    api = FakeApi((CLAIM, claim()), (NODE, node()), (STORAGE_CLASS, cls), (VOLUME, odd), (VOLUME, volume()))

    facts = await gather(Claim.of(claim()), api.caches, FakeDriver())

    assert [each.name for each in facts.volumes] == ["pvc-c1"]
