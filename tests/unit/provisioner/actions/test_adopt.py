"""The writes of adoption: one guarded patch, or a rebuilt PersistentVolume."""

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
    """Afterwards the volume names exactly the new claim, and nothing but claimRef and annotations changed."""
    api = FakeApi((VOLUME, volume(phase="Released")), (CLAIM, claim(uid="c2")))
    await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    after = api.all(VOLUME)[0]
    assert "c2" == after["spec"]["claimRef"]["uid"]
    assert volume(phase="Released")["spec"]["csi"] == after["spec"]["csi"]
    assert 1 == len(api.writes)


async def test_bound_by_controller_is_removed() -> None:
    """With bound-by-controller, a lost bind race would make the volume free for any claim (binding.md 2.7.5)."""
    pv = volume(phase="Released")
    pv["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes"
    api = FakeApi((VOLUME, pv), (CLAIM, claim(uid="c2")))
    await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    assert BOUND_BY_CONTROLLER not in api.all(VOLUME)[0]["metadata"]["annotations"]


def test_the_patch_is_guarded_by_the_resource_version() -> None:
    """The first operation tests the resourceVersion, so that a volume that changed meanwhile is not overwritten."""
    pv = volume(phase="Released")
    pv["metadata"]["resourceVersion"] = "7"
    fresh = claim(uid="c2")
    fresh["metadata"]["resourceVersion"] = "8"
    first = adoption_patch(pv, fresh, labels=LABELS)[0]
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "7"} == first


def _deleting(pv: Json) -> Json:
    pv["metadata"] |= {"deletionTimestamp": "t", "finalizers": ["x"]}
    return pv


def _released(pv: Json) -> Json:
    pv["metadata"]["annotations"][RELEASED] = "2026-01-01T00:00:00Z"
    return pv


def _of_another_claim(pv: Json) -> Json:
    pv["spec"]["claimRef"]["name"] = "www-web-1"
    return pv


@pytest.mark.parametrize(
    "changed",
    [
        volume(phase="Released", policy="Delete"),
        _deleting(volume(phase="Released")),
        _released(volume(phase="Released")),
        _of_another_claim(volume(phase="Released")),
    ],
)
async def test_a_volume_that_changed_is_not_adopted(changed: Json) -> None:
    """I3: when it is written, the volume must still be retained, have the claim's name, and not be in deletion."""
    api = FakeApi((VOLUME, changed), (CLAIM, claim(uid="c2")))
    with pytest.raises(Conflict):
        await adopt(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1", labels=LABELS)
    assert [] == api.writes


async def test_a_claim_is_confirmed_only_with_its_set_and_namespace() -> None:
    """
    Nothing is adopted by a deleted, bound or recreated claim.

    The same holds without its set, and in a recreated namespace.
    """
    cached = claim(uid="c2")
    namespaced = (NAMESPACE, namespace())
    existing = [(CLAIM, claim(uid="c2")), (STATEFUL_SET, stateful_set()), namespaced]
    assert await confirm(FakeApi(*existing), claim=cached, labels=LABELS, needs_set=True)
    assert not await confirm(FakeApi(*existing[1:]), claim=cached, labels=LABELS, needs_set=True)
    assert not await confirm(FakeApi(existing[0], namespaced), claim=cached, labels=LABELS, needs_set=True)
    assert await confirm(FakeApi(existing[0], namespaced), claim=cached, labels=LABELS, needs_set=False)
    newer = [(CLAIM, claim(uid="c3")), *existing[1:]]
    assert not await confirm(FakeApi(*newer), claim=cached, labels=LABELS, needs_set=True)
    bound = [(CLAIM, claim(uid="c2", volumeName="pv")), *existing[1:]]
    assert not await confirm(FakeApi(*bound), claim=cached, labels=LABELS, needs_set=True)
    recreated = [*existing[:2], (NAMESPACE, namespace(uid="n2"))]
    assert not await confirm(FakeApi(*recreated), claim=cached, labels=LABELS, needs_set=True)


async def test_a_pv_is_rebuilt_from_the_manifest() -> None:
    """The manifest has all fields of the PersistentVolume, whose claimRef names the claim from the start."""
    manifest = inventory_pb2.Manifest(
        volume_id=HANDLE,
        csi_name="pvc-c1",
        capacity_bytes=1 << 30,
        volume_context={"mooring.dev/backend": "directory"},
        access_type="mount",
    )
    api = FakeApi((CLAIM, claim(uid="c2")))
    name = await rebuild(api, manifest=manifest, claim=api.all(CLAIM)[0], storage_class=storage_class(), labels=LABELS)
    created = api.all(VOLUME)[0]
    assert ("pvc-c1", "c2", HANDLE) == (
        name,
        created["spec"]["claimRef"]["uid"],
        created["spec"]["csi"]["volumeHandle"],
    )
    assert ("1Gi", "Retain") == (
        created["spec"]["capacity"]["storage"],
        created["spec"]["persistentVolumeReclaimPolicy"],
    )


def _adopted(phase: str = "Released", *uids: str) -> Json:
    pv = volume(phase=phase, claim_uid="c2")
    owners = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids or ("c1", "c2")]
    pv["metadata"]["annotations"][HISTORY] = history.write(owners)
    return pv


async def test_a_reverted_adoption_restores_the_former_owner() -> None:
    """The claimRef has the UID of the owner before, and the history ends with that owner."""
    api = FakeApi((VOLUME, _adopted()), (CLAIM, claim(uid="c2")))
    await revert_adoption(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1")
    after = api.all(VOLUME)[0]
    assert "c1" == after["spec"]["claimRef"]["uid"]
    assert ["c1"] == [each.claim_uid for each in history.read(after["metadata"]["annotations"][HISTORY])]


@pytest.mark.parametrize("pv", [_adopted("Bound"), _adopted("Released", "c2"), _adopted("Released", "c0", "c1")])
async def test_an_adoption_is_not_reverted_once_the_binder_has_begun(pv: Json) -> None:
    """Nor is a volume changed that was not adopted at all."""
    api = FakeApi((VOLUME, pv), (CLAIM, claim(uid="c2")))
    with pytest.raises(Conflict):
        await revert_adoption(api, claim=api.all(CLAIM)[0], volume_name="pvc-c1")
    assert [] == api.writes
