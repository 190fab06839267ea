"""Orphans, which no claim waits for."""

import pytest

from provisioner.controllers.orphans import Orphans
from provisioner.drivers.client import VolumeRequest, capability
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


async def _remaining(policy: str, *objects: tuple[Kind, Json], state: str = "ready") -> int:
    """Return how many volumes remain of one whose owner record has the policy."""
    driver = FakeDriver()
    desired = VolumeRequest(
        name="pvc-c1",
        required_bytes=1,
        capabilities=[capability(modes=["ReadWriteOnce"], volume_mode="", fs_type="", mount_flags=())],
        parameters={**LABELS, "mooring.dev/reclaim-policy": policy},
    )
    await driver.create_volume(desired, may_have_former=False)
    for manifest in driver.live.values():
        manifest.state = state
    api = FakeApi((NODE, node()), (NAMESPACE, namespace("kube-system", "k")), *objects)
    await Orphans(api, api.caches, drivers=driver).reconcile(("", "kube-system"))
    return len(driver.live)


async def test_a_volume_whose_claim_was_deleted_before_its_pv_was_created_is_deleted() -> None:
    """I6: with policy Delete and neither claim nor PersistentVolume, no other controller would ever delete it."""
    assert 0 == await _remaining("Delete")
    assert 0 == await _remaining("Delete", (CLAIM, claim(uid="c2")))


@pytest.mark.parametrize(
    ("policy", "objects"),
    [
        ("Retain", []),
        ("Delete", [(CLAIM, claim())]),
        ("Delete", [(VOLUME, volume())]),
    ],
)
async def test_a_volume_with_an_owner_is_not_deleted(policy: str, objects: list[tuple[Kind, Json]]) -> None:
    """I3: a retained volume, one whose claim waits for it, and one with a PersistentVolume are not deleted."""
    assert 1 == await _remaining(policy, *objects)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_an_unfinished_volume_is_deleted_with_its_claim(policy: str) -> None:
    """I6: no claim was ever bound to it, so none will adopt it; while its claim waits, the creation continues."""
    assert 0 == await _remaining(policy, state="creating")
    assert 1 == await _remaining(policy, (CLAIM, claim()), state="creating")
    assert 1 == await _remaining(policy, (VOLUME, volume()), state="creating")
