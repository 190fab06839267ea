"""The storage controllers together, on the embedded API server and a driver in memory."""

import grpc
import pytest

from provisioner.actions import refusals
from provisioner.admin.recover import inspect
from provisioner.drivers.client import RpcError
from provisioner.model.kinds import ATTRIBUTES_CLASS, CLAIM, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Kind
from provisioner.model.names import HOLDER_NAMESPACE_UID, NAMESPACE_UID
from tests.unit.provisioner.controllers.harness import NAME, Harness
from tests.unit.provisioner.controllers.objects import POOL


async def test_a_volume_is_provisioned_as_by_external_provisioner(harness: Harness) -> None:
    """Name, claimRef with UID, provisioned-by, identity, pool affinity and the owner's annotations are all set."""
    await harness.create_set()
    await harness.create_claim()
    claim = await harness.bound()
    volume = await harness.api.get(VOLUME, claim["spec"]["volumeName"])
    assert f"pvc-{claim['metadata']['uid']}" == volume["metadata"]["name"]
    assert claim["metadata"]["uid"] == volume["spec"]["claimRef"]["uid"]
    annotations = volume["metadata"]["annotations"]
    assert "csi.mooring.dev" == annotations["pv.kubernetes.io/provisioned-by"]
    assert ("web", "www", "0") == tuple(
        annotations[f"mooring.dev/{each}"] for each in ("stateful-set", "template", "ordinal")
    )
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert f"pool.mooring.dev/{POOL}" == terms[0]["matchExpressions"][0]["key"]
    assert "pv.kubernetes.io/bound-by-controller" not in annotations
    assert "present" == (await harness.api.get(NODE, "n"))["metadata"]["labels"][f"pool.mooring.dev/{POOL}"]


async def test_a_recreated_claim_adopts_its_former_volume(harness: Harness) -> None:
    """I2: the claim of the same ordinal is bound to its former volume, and the driver records the new owner."""
    await harness.create_set()
    await harness.create_claim()
    first = await harness.bound()
    await harness.delete_claim()
    await harness.phase(first["spec"]["volumeName"], "Released")
    await harness.create_claim()
    second = await harness.bound()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert first["spec"]["volumeName"] == second["spec"]["volumeName"]

    async def recorded() -> bool:
        labels = next(iter(harness.driver.live.values())).holder.labels
        return bool(labels["mooring.dev/claim-uid"] == second["metadata"]["uid"])

    await harness.until(recorded, "the driver has recorded the new owner")
    assert 1 == len(harness.driver.live)


async def test_a_claim_recreated_at_once_adopts_its_former_volume(harness: Harness) -> None:
    """I2: the volume is adopted whatever phase it has when the new claim is created."""
    await harness.create_set()
    await harness.create_claim()
    first = await harness.bound()
    for _ in range(5):
        await harness.delete_claim()
        await harness.create_claim()
        assert first["spec"]["volumeName"] == (await harness.bound())["spec"]["volumeName"]
    assert 1 == len(harness.driver.live)


async def test_a_deleted_persistent_volume_is_rebuilt(harness: Harness) -> None:
    """The manifest suffices to bind the claim to its data again."""
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.phase(volume, "Released")
    await harness.api.delete(VOLUME, volume)
    await harness.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
    await harness.create_claim()
    assert volume == (await harness.bound())["spec"]["volumeName"]


async def test_a_former_volume_in_the_trash_is_restored(harness: Harness) -> None:
    """A deleted former volume is restored from the trash with its data."""
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.api.patch(VOLUME, volume, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    await harness.delete_claim()

    async def trashed() -> bool:
        found = await harness.find(VOLUME, volume)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            await harness.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
        return bool(harness.driver.trash) and found is None

    await harness.until(trashed, "the volume is in the trash")
    await harness.create_claim()
    assert volume == (await harness.bound())["spec"]["volumeName"]
    assert ([], 1) == (list(harness.driver.trash), len(harness.driver.live))


async def test_a_blocked_claim_gets_no_empty_volume(harness: Harness) -> None:
    """I2, I7: an Event names the former volume, which is too small and may not be expanded."""
    await harness.api.patch(STORAGE_CLASS, "mooring-directory", {"allowVolumeExpansion": False})
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.create_claim(size="2Gi")
    message = await harness.event("FormerVolumeBlocked")
    assert volume in message
    assert "request 1Gi" in message
    assert 1 == len(harness.driver.live)


async def test_a_bound_claim_is_expanded_when_its_request_is(harness: Harness) -> None:
    """Driver, PersistentVolume and claim report the new size, and no intermediate status is left."""
    await harness.create_claim()
    await harness.bound()
    await harness.request("2Gi")
    volume = await harness.capacity("2Gi")
    assert "2Gi" == volume["spec"]["capacity"]["storage"]
    status = (await harness.bound())["status"]
    assert (None, []) == (status.get("allocatedResourceStatuses"), status.get("conditions") or [])
    assert 2 << 30 == next(iter(harness.driver.live.values())).capacity_bytes


async def test_a_claim_bound_during_a_node_expand_has_the_former_capacity(harness: Harness) -> None:
    """As with upstream's binder, the annotated former size counts until the filesystem is expanded."""
    harness.driver.node_expansion_required = True
    await harness.create_set()
    await harness.create_claim()
    await harness.bound()
    await harness.request("2Gi")
    await harness.event("FileSystemResizeRequired")
    await harness.delete_claim()
    await harness.create_claim(size="1536Mi")
    volume = await harness.capacity("1Gi")
    assert "2Gi" == volume["spec"]["capacity"]["storage"]


@pytest.mark.parametrize("where", ["retained", "without its object", "in the trash"])
@pytest.mark.parametrize("node_expansion_required", [False, True])
async def test_a_former_volume_is_expanded_before_it_is_adopted(
    harness: Harness, where: str, node_expansion_required: bool
) -> None:
    """A StatefulSet that is recreated with a larger template keeps its data: expand, then adopt."""
    harness.driver.node_expansion_required = node_expansion_required
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.phase(volume, "Released")
    if where != "retained":
        await harness.api.delete(VOLUME, volume)
        await harness.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
    if where == "in the trash":
        await harness.driver.delete_volume(f"{POOL}.{volume}")
    await harness.create_claim(size="2Gi")
    claim = await harness.bound()
    found = await harness.api.get(VOLUME, volume)
    assert (volume, "2Gi") == (claim["spec"]["volumeName"], found["spec"]["capacity"]["storage"])
    assert {"storage": "1Gi" if node_expansion_required else "2Gi"} == claim["status"]["capacity"]
    assert (1, {}) == (len(harness.driver.live), harness.driver.trash)
    if node_expansion_required:
        assert "the node expands its filesystem" in await harness.event("FileSystemResizeRequired")


async def test_a_former_volume_that_cannot_be_expanded_blocks_its_claim(harness: Harness) -> None:
    """I2, I7: the Event has refusal, volume and next step; a smaller request then adopts the volume."""
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.phase(volume, "Released")
    harness.driver.error = RpcError(code=grpc.StatusCode.OUT_OF_RANGE, message="pool local has 3Gi left")
    await harness.create_claim(size="9Gi")
    message = await harness.event("FormerVolumeBlocked")
    assert volume in message
    assert "pool local has 3Gi left; request less, or free capacity in its pool" in message
    assert "Pending" == (await harness.api.get(CLAIM, NAME, "default"))["status"]["phase"]
    await harness.delete_claim()
    await harness.create_claim(size="2Gi")
    assert volume == (await harness.bound())["spec"]["volumeName"]


async def test_a_volume_has_the_attributes_that_its_claim_requests(harness: Harness) -> None:
    """The class named at first is sent in CreateVolume, the one named later in ControllerModifyVolume."""
    for name, retention in (("silver", "1h"), ("gold", "90h")):
        attributes = {"driverName": "csi.mooring.dev", "parameters": {"trashRetention": retention}}
        await harness.api.create(ATTRIBUTES_CLASS, {"metadata": {"name": name}, **attributes})
    await harness.create_claim(volumeAttributesClassName="silver")
    claim = await harness.bound()
    assert "silver" == claim["status"]["currentVolumeAttributesClassName"]
    assert [{"trashRetention": "1h"}] == list(harness.driver.mutable.values())
    await harness.api.patch(CLAIM, NAME, {"spec": {"volumeAttributesClassName": "gold"}}, namespace="default")

    async def changed() -> bool:
        found = await harness.api.get(CLAIM, NAME, "default")
        return bool(found["status"].get("currentVolumeAttributesClassName") == "gold")

    await harness.until(changed, "the claim has the class gold")
    volume = await harness.api.get(VOLUME, claim["spec"]["volumeName"])
    assert "gold" == volume["spec"]["volumeAttributesClassName"]
    assert [{"trashRetention": "90h"}] == list(harness.driver.mutable.values())


async def test_a_claim_whose_attributes_class_is_missing_waits_with_an_event(harness: Harness) -> None:
    """I7: no volume is provisioned without the requested attributes."""
    await harness.create_claim(volumeAttributesClassName="gold")
    assert "VolumeAttributesClass gold does not exist" in await harness.event("ProvisioningFailed")
    assert {} == harness.driver.live


async def test_without_its_set_a_claim_waits(harness: Harness) -> None:
    """Adopt Ordinal: a former volume is adopted only while the StatefulSet exists, and at once when it is created."""
    await harness.create_set()
    await harness.create_claim()
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await harness.delete_claim()
    await harness.api.patch(STATEFUL_SET, "web", {"metadata": {"finalizers": None}}, namespace="default")
    await harness.create_claim()
    assert "create the StatefulSet web" in await harness.event("FormerVolumeBlocked")
    await harness.create_set()
    assert volume == (await harness.bound())["spec"]["volumeName"]


async def test_a_scratch_volume_is_deleted_with_its_claim(harness: Harness) -> None:
    """Policy Delete, adopt Never: the volume is moved to the trash, and the next claim gets a new one."""
    await harness.create_set()
    await harness.create_claim(storage_class="mooring-scratch")
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()

    async def deleted() -> bool:
        found = await harness.find(VOLUME, volume)
        finalizers = (found or {"metadata": {}})["metadata"].get("finalizers")
        if finalizers == ["kubernetes.io/pv-protection"]:  # the workload controllers of an engine remove it
            await harness.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
        return found is None

    await harness.until(deleted, "the volume is deleted")
    assert 1 == len(harness.driver.trash)
    await harness.create_claim(storage_class="mooring-scratch")
    assert volume != (await harness.bound())["spec"]["volumeName"]


async def test_a_static_volume_is_bound_before_a_new_one_is_provisioned(harness: Harness) -> None:
    """Step 3 comes before step 4: a free volume of the class that the node reaches is bound."""
    await harness.api.create(
        VOLUME,
        {
            "metadata": {"name": "by-hand"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "5Gi"},
                "csi": {"driver": "csi.mooring.dev", "volumeHandle": f"{POOL}.by-hand"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "mooring-directory",
            },
        },
    )
    await harness.phase("by-hand", "Available")
    await harness.create_claim()
    assert "by-hand" == (await harness.bound())["spec"]["volumeName"]
    assert {} == harness.driver.live


async def test_a_refusal_of_the_driver_is_an_event_and_is_retried(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of the Event is the driver's."""
    monkeypatch.setattr(refusals, "FAILED_SECONDS", 0.1)
    harness.driver.error = RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="pool local has 3Mi left")
    await harness.create_claim()
    assert "pool local has 3Mi left" == await harness.event("ProvisioningFailed")
    await harness.bound()


async def test_a_class_that_contradicts_itself_is_refused(harness: Harness) -> None:
    """Adopt with reclaimPolicy Delete would adopt what was deleted: it is refused with an Event."""
    await harness.api.create(
        Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False),
        {
            "metadata": {"name": "odd"},
            "provisioner": "csi.mooring.dev",
            "reclaimPolicy": "Delete",
            "parameters": {"adopt": "Claim"},
        },
    )
    await harness.create_claim(storage_class="odd")
    assert "contradict each other" in await harness.event("ProvisioningFailed")
    assert {} == harness.driver.live


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("group", "kind", "reason"),
    [
        ("snapshot.storage.k8s.io", "VolumeSnapshot", "ProvisioningFailed"),
        ("", "PersistentVolumeClaim", "ProvisioningFailed"),
        ("hello.example.com", "Hello", "Provisioning"),
    ],
)
async def test_a_claim_with_a_source_gets_an_event_and_no_empty_volume(
    harness: Harness, group: str, kind: str, reason: str, *, waits: bool
) -> None:
    """The driver is not called for it."""
    name = "mooring-directory"
    if not waits:
        found = await harness.api.get(STORAGE_CLASS, name)
        name = "at-once"
        immediate = {**found, "metadata": {"name": name}, "volumeBindingMode": "Immediate"}
        await harness.api.create(STORAGE_CLASS, immediate)
    await harness.create_claim(storage_class=name, dataSourceRef={"apiGroup": group, "kind": kind, "name": "src"})

    assert "src" in await harness.event(reason)
    assert not harness.driver.creating
    assert (await harness.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Pending"


async def _former_volume_of_a_recreated_namespace(harness: Harness, storage_class: str) -> str:
    """Bind a volume to a claim, then change the recorded namespace UID to an earlier one; return the volume's name."""
    await harness.create_set()
    await harness.create_claim(storage_class=storage_class)
    volume = str((await harness.bound())["spec"]["volumeName"])
    await harness.delete_claim()
    await harness.phase(volume, "Released")
    await harness.api.patch(VOLUME, volume, {"metadata": {"annotations": {NAMESPACE_UID: "earlier"}}})
    harness.driver.live[f"{POOL}.{volume}"].holder.labels[HOLDER_NAMESPACE_UID] = "earlier"
    return volume


async def test_a_claim_of_a_recreated_namespace_waits_until_an_admin_decides(harness: Harness) -> None:
    """The Event names both commands; the claim gets no empty volume, and its data once an admin adopts the volume."""
    volume = await _former_volume_of_a_recreated_namespace(harness, "mooring-directory")
    await harness.create_claim()

    message = await harness.event("FormerVolumeBlocked")
    assert "`mooring adopt www-web-0`" in message
    assert "`mooring forget www-web-0`" in message
    assert (await harness.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Pending"
    assert 1 == len(harness.driver.live)
    await harness.adopt(volume)
    assert volume == (await harness.bound())["spec"]["volumeName"]


async def test_a_class_may_provision_new_volumes_in_a_recreated_namespace(harness: Harness) -> None:
    """onNamespaceRecreated: Fresh, with an Event; the older volume is not changed."""
    found = await harness.api.get(STORAGE_CLASS, "mooring-directory")
    parameters = {**found["parameters"], "onNamespaceRecreated": "Fresh"}
    await harness.api.create(STORAGE_CLASS, {**found, "metadata": {"name": "fresh"}, "parameters": parameters})
    volume = await _former_volume_of_a_recreated_namespace(harness, "fresh")
    await harness.create_claim(storage_class="fresh")

    assert volume != (await harness.bound())["spec"]["volumeName"]
    assert volume in await harness.event("NamespaceRecreated")
    assert f"{POOL}.{volume}" in harness.driver.live


async def test_an_ordinal_whose_attributes_class_changed_adopts_its_volume(harness: Harness) -> None:
    """The volume is modified to the requested class; a claim that requests no class waits with an Event."""
    for name, time in (("silver", "1h"), ("gold", "90h")):
        attributes = {"driverName": "csi.mooring.dev", "parameters": {"trashRetention": time}}
        await harness.api.create(ATTRIBUTES_CLASS, {"metadata": {"name": name}, **attributes})
    await harness.create_set()
    await harness.create_claim(volumeAttributesClassName="silver")
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.create_claim()
    assert "silver" in await harness.event("FormerVolumeBlocked")
    await harness.delete_claim()
    await harness.create_claim(volumeAttributesClassName="gold")

    claim = await harness.bound()
    assert volume == claim["spec"]["volumeName"]
    assert "gold" == claim["status"]["currentVolumeAttributesClassName"]
    assert "gold" == (await harness.api.get(VOLUME, volume))["spec"]["volumeAttributesClassName"]
    assert [{"trashRetention": "90h"}] == list(harness.driver.mutable.values())


async def test_a_restored_scratch_volume_is_adopted_by_the_claim_of_its_name(harness: Harness) -> None:
    """Its class never adopts; but an admin restored it from the trash, which assigns it to the claim of that name."""
    await harness.create_set()
    await harness.create_claim(storage_class="mooring-scratch")
    volume = (await harness.bound())["spec"]["volumeName"]
    await harness.delete_claim()
    await harness.trashed(volume)
    await harness.deleted(volume)
    seen = await inspect(harness.api, harness.driver)
    await seen.restore(harness.api, harness.driver, seen.manifests[0])
    await harness.create_volume("free", storage_class="mooring-scratch")
    await harness.create_claim(storage_class="mooring-scratch")

    assert volume == (await harness.bound())["spec"]["volumeName"]
    retained = await harness.api.get(VOLUME, volume)
    assert "Retain" == retained["spec"]["persistentVolumeReclaimPolicy"]
