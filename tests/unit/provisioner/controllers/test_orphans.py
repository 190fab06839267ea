"""Volumes that nobody waits for any more."""

import pytest

from provisioner.controllers.orphans import Orphans
from provisioner.drivers.client import capability
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, VOLUME, Json, Kind
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import claim, namespace, node, volume

LABELS = {
    "mooring.dev/cluster-uid": "k",
    "mooring.dev/namespace": "default",
    "mooring.dev/claim": "www-web-0",
    "mooring.dev/claim-uid": "c1",
}


async def _left(policy: str, *objects: tuple[Kind, Json], state: str = "ready") -> int:
    """How many volumes are left of one whose holder has the policy."""
    driver = FakeDriver()
    await driver.create_volume(
        name="pvc-c1",
        required_bytes=1,
        capabilities=[capability(modes=["ReadWriteOnce"], volume_mode="", fs_type="", mount_flags=())],
        parameters={**LABELS, "mooring.dev/reclaim-policy": policy},
        mutable_parameters={},
        segments={},
        may_have_former=False,
    )
    for manifest in driver.living.values():
        manifest.state = state
    api = FakeApi((NODE, node()), (NAMESPACE, namespace("kube-system", "k")), *objects)
    await Orphans(api, api.caches, drivers=driver).reconcile(("", "kube-system"))
    return len(driver.living)


async def test_a_volume_whose_claim_went_before_its_object_was_saved_is_deleted() -> None:
    """I6: with policy Delete neither claim nor object means that nobody will ever delete it otherwise."""
    assert 0 == await _left("Delete")
    assert 0 == await _left("Delete", (CLAIM, claim(uid="c2")))


@pytest.mark.parametrize(
    ("policy", "objects"),
    [
        ("Retain", []),
        ("Delete", [(CLAIM, claim())]),
        ("Delete", [(VOLUME, volume())]),
    ],
)
async def test_a_volume_that_somebody_owns_stays(policy: str, objects: list[tuple[Kind, Json]]) -> None:
    """I3: a retained volume, one whose claim waits for it, and one that has its object are not touched."""
    assert 1 == await _left(policy, *objects)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_a_volume_whose_making_was_interrupted_goes_with_its_claim(policy: str) -> None:
    """I6: nobody ever had it, so no claim will ever find it; while its own claim waits, the making goes on."""
    assert 0 == await _left(policy, state="creating")
    assert 1 == await _left(policy, (CLAIM, claim()), state="creating")
    assert 1 == await _left(policy, (VOLUME, volume()), state="creating")
