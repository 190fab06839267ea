"""
The ways in which data is lost or exposed around a PersistentVolume, one by one, as upstream has them; and what keeps us out.

Those that stand elsewhere: a volume is adopted only with policy Retain, so that losing a race deletes nothing, and one
that is being deleted is never adopted (test_adopt, binding/test_adoption); a cache that does not know the claim yet
deletes nothing, and one that does not know the policy Retain yet neither (test_release); the claims of a set that deletes
them itself come back with their data (cluster/test_classes); a namespace made anew is a stranger (binding/test_adoption);
what its policy deletes goes to the trash, and comes back from there for an ordinal (test_claims_on_a_server); an empty
volume left over from a race (test_races_with_provisioning, test_leftovers).
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
from tests.unit.provisioner.controllers.world import NAME, World


async def test_a_volume_never_becomes_anybodys(world: World) -> None:
    """Whole claimRef cleared, data to the first claim of any namespace: it is never cleared, and a stranger gets a volume of its own."""
    await world.make_set()
    await world.make_claim()
    claim = await world.bound()
    kept = claim["spec"]["volumeName"]
    await world.drop_claim()
    await world.phase(kept, "Released")
    assert claim["metadata"]["uid"] == (await world.api.get(VOLUME, kept))["spec"]["claimRef"]["uid"]

    await world.api.create(NAMESPACE, {"metadata": {"name": "other"}})
    stranger = {key: claim["metadata"][key] for key in ("name", "annotations")} | {"namespace": "other"}
    stranger["annotations"] = {"volume.kubernetes.io/selected-node": "n"}
    spec = {key: value for key, value in claim["spec"].items() if key != "volumeName"}
    await world.api.create(CLAIM, {"metadata": stranger, "spec": spec})

    async def bound() -> bool:
        return bool((await world.api.get(CLAIM, NAME, "other"))["status"]["phase"] == "Bound")

    await world.until(bound, "the stranger's claim is Bound")
    assert kept != (await world.api.get(CLAIM, NAME, "other"))["spec"]["volumeName"]
    assert "Released" == (await world.api.get(VOLUME, kept))["status"]["phase"]


async def test_a_volume_that_was_found_free_once_is_not_free_again(world: World) -> None:
    """The mark of a first, controller-made bind would hand the volume to anybody after a lost race: adoption drops it."""
    await world.make_volume("by-hand")
    await world.phase("by-hand", "Available")
    await world.make_set()
    await world.make_claim()
    await world.bound()
    assert await _marked(world)

    async def recorded() -> bool:
        annotations = (await world.api.get(VOLUME, "by-hand"))["metadata"]["annotations"]
        return "mooring.dev/namespace-uid" in annotations

    await world.until(recorded, "the volume says whose it is")
    await world.drop_claim()
    await world.make_claim()
    assert "by-hand" == (await world.bound())["spec"]["volumeName"]
    assert not await _marked(world)


async def _marked(world: World) -> bool:
    annotations = (await world.api.get(VOLUME, "by-hand"))["metadata"]["annotations"]
    return "pv.kubernetes.io/bound-by-controller" in annotations


async def test_nothing_is_recycled() -> None:
    """Policy Recycle is `rm -rf`: such a volume is neither emptied nor deleted here, nor given back."""
    held = objects.volume(phase="Released", policy="Recycle")
    api, driver = FakeApi((VOLUME, held)), FakeDriver()
    assert Done() == await Reclaim(api, api.caches, api.recorder, drivers=driver).reconcile(("", "pvc-c1"))
    assert [] == api.writes
    waits = adopt(facts(volumes=(view(**FORMER, policy="Recycle"),)))
    assert waits is not None
    assert ["former-policy"] == [reason.code for reason in waits.reasons]
    assert not still_adoptable(held, objects.claim(uid="c2"))


async def test_a_bound_claim_finds_its_restored_volume(world: World) -> None:
    """A volume restored with only its claim's name leaves a bound claim Lost: what Mooring writes anew has the UID."""
    await world.make_set()
    await world.make_claim()
    name = (await world.bound())["spec"]["volumeName"]
    await world.api.delete(VOLUME, name)
    await world.api.patch(VOLUME, name, {"metadata": {"finalizers": None}})

    async def lost() -> bool:
        return bool((await world.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Lost")

    await world.until(lost, "the claim is Lost")
    seen = await inspect(world.api, world.driver)
    await seen.restore(world.api, world.driver, seen.manifests[0])
    assert name == (await world.bound())["spec"]["volumeName"]


def test_two_that_name_each_other_are_bound_unchecked_and_so_never_written_by_us() -> None:
    """Claim and volume that name each other are bound even while the volume is being deleted: its former volume is refused then."""
    going = view(**FORMER, deleting=True)
    mine = view(ref=("www-web-0", "new"), deleting=True)
    named = Claim.of(objects.claim(uid="new", volumeName="pv"))
    assert "U9" == claim_step(named, volumes=Index([mine]), storage_class=None, default_class=None).rule
    waits = adopt(facts(volumes=(going,)))
    assert waits is not None
    assert ["former-deleting"] == [reason.code for reason in waits.reasons]
