"""The writing side of adoption: one guarded patch, or a volume written anew."""

import pytest

from csi.v1 import inventory_pb2
from provisioner.actions.adopt import adopt, adoption_patch, confirm, rebuild, revert_adoption
from provisioner.kube.errors import Conflict
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, NAMESPACE, STATEFUL_SET, VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER, HISTORY, HOLDER_NAMESPACE_UID, HOLDER_STATEFUL_SET, RELEASED
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import HANDLE, claim, namespace, stateful_set, storage_class, volume

LABELS = {
    HOLDER_NAMESPACE_UID: "n1",
    HOLDER_STATEFUL_SET: "web",
    "mooring.dev/template": "www",
    "mooring.dev/ordinal": "0",
}


async def test_the_claim_uid_is_written_into_the_claim_ref() -> None:
    """Afterwards the volume names exactly the new claim, and nothing but the reference and annotations changed."""
    api = FakeApi((VOLUME, volume(phase="Released")), (CLAIM, claim(uid="c2")))
    await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    after = api.all(VOLUME)[0]
    assert "c2" == after["spec"]["claimRef"]["uid"]
    assert volume(phase="Released")["spec"]["csi"] == after["spec"]["csi"]
    assert 1 == len(api.writes)


async def test_the_mark_of_a_controller_made_bind_is_dropped() -> None:
    """With bound-by-controller on it a lost race would hand the volume to anybody (binding.md 2.7.5)."""
    held = volume(phase="Released")
    held["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes"
    api = FakeApi((VOLUME, held), (CLAIM, claim(uid="c2")))
    await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    assert BOUND_BY_CONTROLLER not in api.all(VOLUME)[0]["metadata"]["annotations"]


def test_the_patch_holds_on_to_what_was_read() -> None:
    """The first operation tests the resourceVersion, so a volume that changed meanwhile is not overwritten."""
    held = volume(phase="Released")
    held["metadata"]["resourceVersion"] = "7"
    fresh = claim(uid="c2")
    fresh["metadata"]["resourceVersion"] = "8"
    first = adoption_patch(held, fresh, labels=LABELS)[0]
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "7"} == first


def _deleting(held: Json) -> Json:
    held["metadata"] |= {"deletionTimestamp": "t", "finalizers": ["x"]}
    return held


def _released(held: Json) -> Json:
    held["metadata"]["annotations"][RELEASED] = "2026-01-01T00:00:00Z"
    return held


def _of_another_claim(held: Json) -> Json:
    held["spec"]["claimRef"]["name"] = "www-web-1"
    return held


@pytest.mark.parametrize(
    "changed",
    [
        volume(phase="Released", policy="Delete"),
        _deleting(volume(phase="Released")),
        _released(volume(phase="Released")),
        _of_another_claim(volume(phase="Released")),
    ],
)
async def test_a_volume_that_changed_is_judged_again(changed: Json) -> None:
    """I3: at the moment of writing the volume must still be retained, this claim's, and nobody must be deleting it."""
    api = FakeApi((VOLUME, changed), (CLAIM, claim(uid="c2")))
    with pytest.raises(Conflict):
        await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    assert [] == api.writes


async def test_confirmation_wants_the_claim_and_its_set_alive() -> None:
    """A claim that is gone, bound or another one, whose set is gone or whose namespace was made anew, adopts nothing."""
    cached = claim(uid="c2")
    home = (NAMESPACE, namespace())
    alive = [(CLAIM, claim(uid="c2")), (STATEFUL_SET, stateful_set()), home]
    assert await confirm(FakeApi(*alive), claim=cached, labels=LABELS, needs_set=True)
    assert not await confirm(FakeApi(*alive[1:]), claim=cached, labels=LABELS, needs_set=True)
    assert not await confirm(FakeApi(alive[0], home), claim=cached, labels=LABELS, needs_set=True)
    assert await confirm(FakeApi(alive[0], home), claim=cached, labels=LABELS, needs_set=False)
    newer = [(CLAIM, claim(uid="c3")), *alive[1:]]
    assert not await confirm(FakeApi(*newer), claim=cached, labels=LABELS, needs_set=True)
    taken = [(CLAIM, claim(uid="c2", volumeName="pv")), *alive[1:]]
    assert not await confirm(FakeApi(*taken), claim=cached, labels=LABELS, needs_set=True)
    anew = [*alive[:2], (NAMESPACE, namespace(uid="n2"))]
    assert not await confirm(FakeApi(*anew), claim=cached, labels=LABELS, needs_set=True)


async def test_a_volume_is_written_anew_from_its_manifest() -> None:
    """The manifest holds all that the object needs, and the object names the claim from the start."""
    manifest = inventory_pb2.Manifest(
        volume_id=HANDLE,
        csi_name="pvc-c1",
        capacity_bytes=1 << 30,
        volume_context={"mooring.dev/backend": "directory"},
        access_type="mount",
    )
    api = FakeApi((CLAIM, claim(uid="c2")))
    name = await rebuild(api, manifest=manifest, claim=api.all(CLAIM)[0], storage_class=storage_class(), labels=LABELS)
    made = api.all(VOLUME)[0]
    assert ("pvc-c1", "c2", HANDLE) == (name, made["spec"]["claimRef"]["uid"], made["spec"]["csi"]["volumeHandle"])
    assert ("1Gi", "Retain") == (made["spec"]["capacity"]["storage"], made["spec"]["persistentVolumeReclaimPolicy"])


def _adopted(phase: str = "Released", *holders: str) -> Json:
    held = volume(phase=phase, claim_uid="c2")
    told = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in holders or ("c1", "c2")]
    held["metadata"]["annotations"][HISTORY] = history.write(told)
    return held


async def test_an_adoption_is_undone_as_if_it_had_not_been() -> None:
    """The volume names its holder of before, and its history ends with that."""
    api = FakeApi((VOLUME, _adopted()), (CLAIM, claim(uid="c2")))
    await revert_adoption(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1")
    after = api.all(VOLUME)[0]
    assert "c1" == after["spec"]["claimRef"]["uid"]
    assert ["c1"] == [each.claim_uid for each in history.read(after["metadata"]["annotations"][HISTORY])]


@pytest.mark.parametrize("held", [_adopted("Bound"), _adopted("Released", "c2"), _adopted("Released", "c0", "c1")])
async def test_an_adoption_is_not_undone_once_the_binder_has_begun(held: Json) -> None:
    """Nor where the volume was not adopted at all."""
    api = FakeApi((VOLUME, held), (CLAIM, claim(uid="c2")))
    with pytest.raises(Conflict):
        await revert_adoption(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1")
    assert [] == api.writes
