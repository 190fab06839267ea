"""
Ways in which upstream loses or exposes the data of a PersistentVolume, and that Mooring does not.

Further ones are tested in other files. A volume is adopted only with policy Retain, so that a lost bind race deletes
nothing, and never while it is being deleted (actions/test_adopt, binding/adoption/test_evaluate). A stale cache without
the claim, or without the policy Retain, deletes nothing (test_reclaim). The claims of a set that deletes them itself
adopt their volumes again (cluster/test_classes). A recreated namespace counts as another one
(binding/adoption/test_evaluate). A volume with policy Delete is moved to the trash, from where an ordinal adopts it
(test_claims_on_a_server). An empty volume that lost a bind race is deleted (test_races_with_provisioning,
test_bind_race).
"""

from provisioner.actions.adopt import still_adoptable
from provisioner.admin.recover import inspect
from provisioner.binding.adoption.adopt import adopt
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.pv_controller import claim_step
from provisioner.controllers.reclaim import Reclaim
from provisioner.kube.control import Done
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NAMESPACE, VOLUME
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, facts
from tests.unit.provisioner.binding.objects import volume as view
from tests.unit.provisioner.controllers import objects
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.harness import NAME, Harness


async def test_a_claim_ref_is_never_cleared(harness: Harness) -> None:
    """
    A cleared claimRef would give the data to any claim.

    A claim of the same name in another namespace gets a new volume.
    """
    await harness.create_set()
    await harness.create_claim()
    claim = await harness.bound()
    retained = claim["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.phase(retained, "Released")
    assert claim["metadata"]["uid"] == (await harness.api.get(VOLUME, retained))["spec"]["claimRef"]["uid"]

    await harness.api.create(NAMESPACE, {"metadata": {"name": "other"}})
    other = {key: claim["metadata"][key] for key in ("name", "annotations")} | {"namespace": "other"}
    other["annotations"] = {"volume.kubernetes.io/selected-node": "n"}
    spec = {key: value for key, value in claim["spec"].items() if key != "volumeName"}
    await harness.api.create(CLAIM, {"metadata": other, "spec": spec})

    async def bound() -> bool:
        return bool((await harness.api.get(CLAIM, NAME, "other"))["status"]["phase"] == "Bound")

    await harness.until(bound, "the claim of the other namespace is Bound")
    assert retained != (await harness.api.get(CLAIM, NAME, "other"))["spec"]["volumeName"]
    assert "Released" == (await harness.api.get(VOLUME, retained))["status"]["phase"]


async def test_adoption_removes_the_mark_of_a_bind_by_the_controller(harness: Harness) -> None:
    """With bound-by-controller, a lost bind race would make the volume free for any claim."""
    await harness.create_volume("by-hand")
    await harness.phase("by-hand", "Available")
    await harness.create_set()
    await harness.create_claim()
    await harness.bound()
    assert await _marked(harness)

    async def recorded() -> bool:
        annotations = (await harness.api.get(VOLUME, "by-hand"))["metadata"]["annotations"]
        return "mooring.dev/namespace-uid" in annotations

    await harness.until(recorded, "the owner is recorded")
    await harness.delete_claim()
    await harness.create_claim()
    assert "by-hand" == (await harness.bound())["spec"]["volumeName"]
    assert not await _marked(harness)


async def _marked(harness: Harness) -> bool:
    annotations = (await harness.api.get(VOLUME, "by-hand"))["metadata"]["annotations"]
    return "pv.kubernetes.io/bound-by-controller" in annotations


async def test_nothing_is_recycled() -> None:
    """Policy Recycle is `rm -rf`: such a volume is neither recycled, deleted nor adopted."""
    pv = objects.volume(phase="Released", policy="Recycle")
    api, driver = FakeApi((VOLUME, pv)), FakeDriver()
    assert Done() == await Reclaim(api, api.caches, api.recorder, drivers=driver).reconcile(("", "pvc-c1"))
    assert [] == api.writes
    waits = adopt(facts(volumes=(view(**FORMER, policy="Recycle"),)))
    assert waits is not None
    assert ["former-policy"] == [reason.code for reason in waits.reasons]
    assert not still_adoptable(pv, objects.claim(uid="c2"))


async def test_a_bound_claim_is_bound_again_to_its_rebuilt_volume(harness: Harness) -> None:
    """With only the claim's name in the claimRef, a bound claim stays Lost: a rebuilt PersistentVolume has its UID."""
    await harness.create_set()
    await harness.create_claim()
    name = (await harness.bound())["spec"]["volumeName"]
    await harness.api.delete(VOLUME, name)
    await harness.api.patch(VOLUME, name, {"metadata": {"finalizers": None}})

    async def lost() -> bool:
        return bool((await harness.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Lost")

    await harness.until(lost, "the claim is Lost")
    seen = await inspect(harness.api, harness.driver)
    await seen.restore(harness.api, harness.driver, seen.manifests[0])
    assert name == (await harness.bound())["spec"]["volumeName"]


def test_a_former_volume_that_is_being_deleted_is_never_adopted() -> None:
    """A claim and a volume that name each other are bound even while the volume is being deleted."""
    deleting = view(**FORMER, deleting=True)
    named_by = view(ref=("www-web-0", "new"), deleting=True)
    named = Claim.of(objects.claim(uid="new", volumeName="pv"))
    assert "U9" == claim_step(named, volumes=Index([named_by]), storage_class=None, default_class=None).rule
    waits = adopt(facts(volumes=(deleting,)))
    assert waits is not None
    assert ["former-deleting"] == [reason.code for reason in waits.reasons]
