"""PersistentVolumes rebuilt from manifests."""

import pytest

from csi.v1 import inventory_pb2
from provisioner.admin.recover import inspect
from provisioner.controllers.ownership import Ownership
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME
from provisioner.model.names import (
    HISTORY,
    HOLDER_CLAIM_UID,
    HOLDER_CLUSTER_UID,
    HOLDER_NAMESPACE_UID,
    IMPORTED_UID,
    NAMESPACE_UID,
    RECOVERED,
)
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, storage_class

LABELS = {
    "mooring.dev/cluster-uid": "old-cluster",
    "mooring.dev/namespace": "default",
    "mooring.dev/namespace-uid": "was",
    "mooring.dev/claim": "www-web-0",
    "mooring.dev/claim-uid": "old",
    "mooring.dev/stateful-set": "web",
    "mooring.dev/template": "www",
    "mooring.dev/ordinal": "0",
    "mooring.dev/storage-class": "mooring-directory",
    "mooring.dev/access-modes": "ReadWriteOnce,ReadWriteOncePod",
    "mooring.dev/attributes-class": "quick",
    "mooring.dev/reclaim-policy": "Delete",
}


def _driver() -> FakeDriver:
    driver = FakeDriver()
    driver.live[f"{POOL}.pv"] = inventory_pb2.Manifest(
        volume_id=f"{POOL}.pv",
        csi_name="pv",
        pool_uuid=POOL,
        capacity_bytes=1 << 30,
        access_type="block",
        state="ready",
    )
    driver.live[f"{POOL}.pv"].holder.labels.update(LABELS)
    return driver


def _api() -> FakeApi:
    kube_system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "new-cluster"}}
    return FakeApi((NAMESPACE, namespace()), (NAMESPACE, kube_system), (STORAGE_CLASS, storage_class()))


@pytest.mark.limit("recovered-labels")
async def test_a_recovered_pv_is_as_its_last_claim_had_it() -> None:
    """
    Class, access modes, size and affinity are the same.

    The policy is Retain, and the namespace UID is the new one.
    """
    api, driver = _api(), _driver()
    seen = await inspect(api, driver)
    await seen.restore(api, driver, seen.manifests[0])

    (created,) = api.all(VOLUME)
    spec, annotations = created["spec"], created["metadata"]["annotations"]
    assert created["metadata"]["name"] == "pv"
    assert "labels" not in created["metadata"], "what admins wrote on the object is in no manifest"
    assert spec["claimRef"] == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "default",
        "name": "www-web-0",
        "uid": "old",
    }
    assert (spec["accessModes"], spec["volumeMode"]) == (["ReadWriteOnce", "ReadWriteOncePod"], "Block")
    assert spec["storageClassName"] == "mooring-directory"
    assert spec["volumeAttributesClassName"] == "quick"
    assert spec["persistentVolumeReclaimPolicy"] == "Retain"
    assert "finalizers" not in created["metadata"]
    assert spec["csi"]["volumeHandle"] == f"{POOL}.pv"
    assert annotations[NAMESPACE_UID] == namespace()["metadata"]["uid"]
    assert '"claim_uid":"old"' in annotations[HISTORY]
    assert RECOVERED in annotations


@pytest.mark.parametrize(("existing", "uid"), [("old", "old"), ("new", IMPORTED_UID), ("", IMPORTED_UID)])
async def test_a_claim_that_still_exists_keeps_its_volume_also_where_its_class_never_adopts(
    existing: str, uid: str
) -> None:
    """
    It is Lost without its PersistentVolume, and is bound again by its UID alone.

    Any other claim is assigned the volume.
    """
    scratch = storage_class(adopt="Never")
    api, driver = _api(), _driver()
    api.put(STORAGE_CLASS, scratch)
    if existing:
        api.put(CLAIM, claim(uid=existing, phase="Lost", volumeName="pv"))
    seen = await inspect(api, driver)
    await seen.restore(api, driver, seen.manifests[0])

    (created,) = api.all(VOLUME)
    assert created["spec"]["claimRef"]["uid"] == uid


async def test_the_new_uids_and_policy_are_recorded_in_the_manifest() -> None:
    """The reconciler of ownership retries until the driver has recorded them."""
    api, driver = _api(), _driver()
    seen = await inspect(api, driver)
    await seen.restore(api, driver, seen.manifests[0])

    await Ownership(api, api.caches, drivers=driver).reconcile(("", "pv"))
    recorded = driver.live[f"{POOL}.pv"].holder.labels
    assert recorded[HOLDER_CLUSTER_UID] == "new-cluster"
    assert recorded[HOLDER_NAMESPACE_UID] == namespace()["metadata"]["uid"]
    assert recorded[HOLDER_CLAIM_UID] == "old"
    assert recorded["mooring.dev/reclaim-policy"] == "Retain"
    assert recorded["mooring.dev/attributes-class"] == "quick"


async def test_a_volume_in_the_trash_is_restored_first() -> None:
    """Its PersistentVolume would be of no use otherwise."""
    api, driver = _api(), _driver()
    await driver.delete_volume(f"{POOL}.pv")
    seen = await inspect(api, driver)
    await seen.restore(api, driver, seen.manifests[0])

    assert (list(driver.live), list(driver.trash)) == ([f"{POOL}.pv"], [])
    assert len(api.all(VOLUME)) == 1
