"""The volumes on the disks of all nodes, and erasing a volume without an owner."""

import copy

import pytest

from csi.v1 import inventory_pb2
from provisioner.admin.on_disk import RestoredMeanwhileError, erase, observe, purge_newest, reason_against
from provisioner.binding.on_disk import State
from provisioner.drivers.client import RpcError
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, VOLUME, Json
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import HANDLE, POOL, claim, namespace, volume

CLUSTER: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "cluster"}}


def _driver() -> FakeDriver:
    """Return a driver with the volume pvc-c1 of the claim default/www-web-0."""
    driver = FakeDriver()
    driver.live[HANDLE] = inventory_pb2.Manifest(
        volume_id=HANDLE, csi_name="pvc-c1", pool_uuid=POOL, capacity_bytes=1 << 30, state="ready", stored_bytes=4096
    )
    driver.live[HANDLE].holder.labels.update(
        {
            "mooring.dev/cluster-uid": "cluster",
            "mooring.dev/namespace": "default",
            "mooring.dev/claim": "www-web-0",
            "mooring.dev/claim-uid": "c1",
        }
    )
    return driver


def _api(*more: tuple[object, Json]) -> FakeApi:
    return FakeApi((NAMESPACE, namespace()), (NAMESPACE, CLUSTER), *more)  # type: ignore[arg-type]


async def test_a_volume_whose_pv_was_deleted_is_listed_with_its_claim_and_size() -> None:
    """A node with a pool whose driver is unavailable is listed, too."""
    node = {"metadata": {"name": "far", "labels": {f"pool.mooring.dev/{POOL}": "present"}}}
    disks = await observe(_api((NODE, node), (NODE, {"metadata": {"name": "bare"}})), _driver())

    (found,) = disks.volumes
    assert (found.name, found.state, found.claim) == ("pvc-c1", State.ORPHAN, "default/www-web-0")
    assert (found.size_bytes, found.used_bytes, found.pool, found.nodes) == (1 << 30, 4096, "local", ("local",))
    assert disks.unavailable == ["far"]


async def test_erasing_moves_a_volume_to_the_trash_where_it_can_be_purged() -> None:
    """Earlier entries of the handle are purged with it, and later ones are not."""
    api, driver = _api(), _driver()
    disks = await observe(api, driver)
    (found,) = disks.manifests
    assert await reason_against(disks, driver, found, from_cluster="") is None

    await erase(api, driver, found)
    assert (list(driver.live), list(driver.trash)) == ([], [HANDLE])
    assert await purge_newest(driver, HANDLE) == 1
    assert await purge_newest(driver, HANDLE) == 0


async def test_a_volume_in_use_is_refused_beforehand_and_by_the_driver() -> None:
    """It may be mounted between the check and the deletion."""
    api, driver = _api(), _driver()
    driver.used[HANDLE] = "/mnt/x"
    disks = await observe(api, driver)
    reason = await reason_against(disks, driver, disks.manifests[0], from_cluster="")

    assert reason is not None
    assert "/mnt/x" in reason.message
    with pytest.raises(RpcError, match="in use"):
        await erase(api, driver, disks.manifests[0])
    assert list(driver.live) == [HANDLE]


async def test_a_volume_whose_pv_is_created_while_it_is_erased_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller may rebuild the PersistentVolume for its claim at that moment."""
    api, driver = _api((CLAIM, claim())), _driver()
    disks = await observe(api, driver)
    before = copy.deepcopy(driver.live)
    delete = driver.delete_volume

    async def rebuilt_meanwhile(handle: str) -> None:
        await delete(handle)
        api.put(VOLUME, volume())

    monkeypatch.setattr(driver, "delete_volume", rebuilt_meanwhile)
    with pytest.raises(RestoredMeanwhileError, match="pvc-c1"):
        await erase(api, driver, disks.manifests[0])
    assert (driver.live, driver.trash) == (before, {})
