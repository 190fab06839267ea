"""The storage controllers together, on the embedded API server and a driver in memory."""

import grpc
import pytest

from provisioner.actions import refusals
from provisioner.admin.recover import inspect
from provisioner.drivers.client import RpcError
from provisioner.model.kinds import ATTRIBUTES_CLASS, CLAIM, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Kind
from provisioner.model.names import HOLDER_NAMESPACE_UID, NAMESPACE_UID
from tests.unit.provisioner.controllers.objects import POOL
from tests.unit.provisioner.controllers.world import NAME, World


async def test_a_claim_gets_a_volume_as_external_provisioner_makes_it(world: World) -> None:
    """Name, claimRef with UID, provisioned-by, identity, pool affinity and the holder's annotations are all there."""
    await world.make_set()
    await world.make_claim()
    claim = await world.bound()
    volume = await world.api.get(VOLUME, claim["spec"]["volumeName"])
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
    assert "present" == (await world.api.get(NODE, "n"))["metadata"]["labels"][f"pool.mooring.dev/{POOL}"]


async def test_a_recreated_claim_gets_its_volume_back(world: World) -> None:
    """I2: the claim of the same ordinal under a new UID is bound to the old volume, and the driver learns of it."""
    await world.make_set()
    await world.make_claim()
    first = await world.bound()
    await world.drop_claim()
    await world.phase(first["spec"]["volumeName"], "Released")
    await world.make_claim()
    second = await world.bound()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert first["spec"]["volumeName"] == second["spec"]["volumeName"]

    async def recorded() -> bool:
        held = next(iter(world.driver.living.values())).holder.labels
        return bool(held["mooring.dev/claim-uid"] == second["metadata"]["uid"])

    await world.until(recorded, "the driver knows the new holder")
    assert 1 == len(world.driver.living)


async def test_a_claim_recreated_at_once_gets_its_volume_back(world: World) -> None:
    """I2: whatever phase the volume is in when the new claim comes, it is given back and never lost."""
    await world.make_set()
    await world.make_claim()
    first = await world.bound()
    for _ in range(5):
        await world.drop_claim()
        await world.make_claim()
        assert first["spec"]["volumeName"] == (await world.bound())["spec"]["volumeName"]
    assert 1 == len(world.driver.living)


async def test_a_deleted_volume_object_is_written_anew(world: World) -> None:
    """The manifest is enough to give the claim its bytes back."""
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.phase(volume, "Released")
    await world.api.delete(VOLUME, volume)
    await world.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
    await world.make_claim()
    assert volume == (await world.bound())["spec"]["volumeName"]


async def test_a_volume_in_the_trash_is_taken_out(world: World) -> None:
    """A former volume that somebody deleted comes back from the trash, with its bytes."""
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.api.patch(VOLUME, volume, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    await world.drop_claim()

    async def trashed() -> bool:
        found = await world.find(VOLUME, volume)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            await world.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
        return bool(world.driver.trash) and found is None

    await world.until(trashed, "the volume is in the trash")
    await world.make_claim()
    assert volume == (await world.bound())["spec"]["volumeName"]
    assert ([], 1) == (list(world.driver.trash), len(world.driver.living))


async def test_a_blocked_claim_gets_no_empty_volume(world: World) -> None:
    """I2, I7: a former volume that is too small and may not grow leaves the claim Pending, and an Event tells why."""
    await world.api.patch(STORAGE_CLASS, "mooring-directory", {"allowVolumeExpansion": False})
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.make_claim(size="2Gi")
    message = await world.said("FormerVolumeBlocked")
    assert volume in message
    assert "request 1Gi" in message
    assert 1 == len(world.driver.living)


async def test_a_bound_claim_grows_when_its_request_does(world: World) -> None:
    """Driver, volume object and claim all say the new size, and nothing is left of the way there."""
    await world.make_claim()
    await world.bound()
    await world.ask("2Gi")
    volume = await world.capacity("2Gi")
    assert "2Gi" == volume["spec"]["capacity"]["storage"]
    status = (await world.bound())["status"]
    assert (None, []) == (status.get("allocatedResourceStatuses"), status.get("conditions") or [])
    assert 2 << 30 == next(iter(world.driver.living.values())).capacity_bytes


async def test_a_claim_bound_to_a_volume_that_is_still_growing_has_what_that_had(world: World) -> None:
    """As upstream's binder: the note of the former size counts until the filesystem has followed."""
    world.driver.node_too = True
    await world.make_set()
    await world.make_claim()
    await world.bound()
    await world.ask("2Gi")
    await world.said("FileSystemResizeRequired")
    await world.drop_claim()
    await world.make_claim(size="1536Mi")
    volume = await world.capacity("1Gi")
    assert "2Gi" == volume["spec"]["capacity"]["storage"]


@pytest.mark.parametrize("where", ["kept", "without its object", "in the trash"])
@pytest.mark.parametrize("node_too", [False, True])
async def test_a_former_volume_grows_before_it_comes_back(world: World, where: str, node_too: bool) -> None:
    """A set that comes back with a larger template keeps its data: expand, then adopt."""
    world.driver.node_too = node_too
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.phase(volume, "Released")
    if where != "kept":
        await world.api.delete(VOLUME, volume)
        await world.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
    if where == "in the trash":
        await world.driver.delete_volume(f"{POOL}.{volume}")
    await world.make_claim(size="2Gi")
    claim = await world.bound()
    found = await world.api.get(VOLUME, volume)
    assert (volume, "2Gi") == (claim["spec"]["volumeName"], found["spec"]["capacity"]["storage"])
    assert {"storage": "1Gi" if node_too else "2Gi"} == claim["status"]["capacity"]
    assert (1, {}) == (len(world.driver.living), world.driver.trash)
    if node_too:
        assert "grows on the node" in await world.said("FileSystemResizeRequired")


async def test_a_former_volume_that_cannot_grow_that_much_blocks_its_claim(world: World) -> None:
    """I2, I7: the driver's refusal is told with volume and way out; a smaller wish then gets the volume."""
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.phase(volume, "Released")
    world.driver.error = RpcError(code=grpc.StatusCode.OUT_OF_RANGE, message="pool local has room for 3Gi")
    await world.make_claim(size="9Gi")
    message = await world.said("FormerVolumeBlocked")
    assert volume in message
    assert "pool local has room for 3Gi; ask for less, or make room" in message
    assert "Pending" == (await world.api.get(CLAIM, NAME, "default"))["status"]["phase"]
    await world.drop_claim()
    await world.make_claim(size="2Gi")
    assert volume == (await world.bound())["spec"]["volumeName"]


async def test_a_volume_is_made_with_its_attributes_and_changes_them_with_its_claim(world: World) -> None:
    """The class named at first goes into CreateVolume, the one named later into ControllerModifyVolume."""
    for name, retention in (("silver", "1h"), ("gold", "90h")):
        attributes = {"driverName": "csi.mooring.dev", "parameters": {"trashRetention": retention}}
        await world.api.create(ATTRIBUTES_CLASS, {"metadata": {"name": name}, **attributes})
    await world.make_claim(volumeAttributesClassName="silver")
    claim = await world.bound()
    assert "silver" == claim["status"]["currentVolumeAttributesClassName"]
    assert [{"trashRetention": "1h"}] == list(world.driver.mutable.values())
    await world.api.patch(CLAIM, NAME, {"spec": {"volumeAttributesClassName": "gold"}}, namespace="default")

    async def changed() -> bool:
        found = await world.api.get(CLAIM, NAME, "default")
        return bool(found["status"].get("currentVolumeAttributesClassName") == "gold")

    await world.until(changed, "the claim has the class gold")
    volume = await world.api.get(VOLUME, claim["spec"]["volumeName"])
    assert "gold" == volume["spec"]["volumeAttributesClassName"]
    assert [{"trashRetention": "90h"}] == list(world.driver.mutable.values())


async def test_a_claim_whose_attributes_class_is_missing_waits_and_says_so(world: World) -> None:
    """I7: no volume without the attributes that were asked for."""
    await world.make_claim(volumeAttributesClassName="gold")
    assert "VolumeAttributesClass gold does not exist" in await world.said("ProvisioningFailed")
    assert {} == world.driver.living


async def test_without_its_set_a_claim_waits(world: World) -> None:
    """Adopt Ordinal: an ordinal's volume goes to a claim only while the StatefulSet exists; then it goes at once."""
    await world.make_set()
    await world.make_claim()
    volume = (await world.bound())["spec"]["volumeName"]
    await world.api.delete(STATEFUL_SET, "web", namespace="default", propagation="Orphan")
    await world.drop_claim()
    await world.api.patch(STATEFUL_SET, "web", {"metadata": {"finalizers": None}}, namespace="default")
    await world.make_claim()
    assert "create the StatefulSet web" in await world.said("FormerVolumeBlocked")
    await world.make_set()
    assert volume == (await world.bound())["spec"]["volumeName"]


async def test_scratch_goes_with_its_claim(world: World) -> None:
    """Policy Delete, adopt Never: the volume goes to the trash, and the next claim gets a new one."""
    await world.make_set()
    await world.make_claim(storage_class="mooring-scratch")
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()

    async def gone() -> bool:
        found = await world.find(VOLUME, volume)
        finalizers = (found or {"metadata": {}})["metadata"].get("finalizers")
        if finalizers == ["kubernetes.io/pv-protection"]:  # taken off by the workload controllers in an engine
            await world.api.patch(VOLUME, volume, {"metadata": {"finalizers": None}})
        return found is None

    await world.until(gone, "the volume is gone")
    assert 1 == len(world.driver.trash)
    await world.make_claim(storage_class="mooring-scratch")
    assert volume != (await world.bound())["spec"]["volumeName"]


async def test_a_volume_made_by_hand_is_taken_before_a_new_one_is_made(world: World) -> None:
    """Step 3 comes before step 4: a free volume of the class that the node reaches is bound."""
    await world.api.create(
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
    await world.phase("by-hand", "Available")
    await world.make_claim()
    assert "by-hand" == (await world.bound())["spec"]["volumeName"]
    assert {} == world.driver.living


async def test_what_the_driver_refuses_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own sentence is the Event, and the claim is tried again."""
    monkeypatch.setattr(refusals, "FAILED_SECONDS", 0.1)
    world.driver.error = RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="pool local has 3Mi left")
    await world.make_claim()
    assert "pool local has 3Mi left" == await world.said("ProvisioningFailed")
    await world.bound()


async def test_a_class_that_contradicts_itself_is_refused(world: World) -> None:
    """Adopt with reclaimPolicy Delete would promise to keep what it deletes: refused with an Event."""
    await world.api.create(
        Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False),
        {
            "metadata": {"name": "odd"},
            "provisioner": "csi.mooring.dev",
            "reclaimPolicy": "Delete",
            "parameters": {"adopt": "Claim"},
        },
    )
    await world.make_claim(storage_class="odd")
    assert "contradict each other" in await world.said("ProvisioningFailed")
    assert {} == world.driver.living


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
    world: World, group: str, kind: str, reason: str, *, waits: bool
) -> None:
    """Nothing is asked of the driver for it; other claims are served meanwhile."""
    name = "mooring-directory"
    if not waits:
        found = await world.api.get(STORAGE_CLASS, name)
        name = "at-once"
        immediate = {**found, "metadata": {"name": name}, "volumeBindingMode": "Immediate"}
        await world.api.create(STORAGE_CLASS, immediate)
    await world.make_claim(storage_class=name, dataSourceRef={"apiGroup": group, "kind": kind, "name": "src"})

    assert "src" in await world.said(reason)
    assert not world.driver.making
    assert (await world.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Pending"


async def _held_before_the_namespace_was_recreated(world: World, storage_class: str) -> str:
    """Let a claim have a volume, and let the namespace be another one since; the volume's name."""
    await world.make_set()
    await world.make_claim(storage_class=storage_class)
    volume = str((await world.bound())["spec"]["volumeName"])
    await world.drop_claim()
    await world.phase(volume, "Released")
    await world.api.patch(VOLUME, volume, {"metadata": {"annotations": {NAMESPACE_UID: "earlier"}}})
    world.driver.living[f"{POOL}.{volume}"].holder.labels[HOLDER_NAMESPACE_UID] = "earlier"
    return volume


async def test_a_claim_of_a_recreated_namespace_waits_until_an_admin_decides(world: World) -> None:
    """The Event names both ways out; the claim gets no empty volume, and its data once it is given to it."""
    volume = await _held_before_the_namespace_was_recreated(world, "mooring-directory")
    await world.make_claim()

    said = await world.said("FormerVolumeBlocked")
    assert "`mooring adopt www-web-0`" in said
    assert "`mooring forget www-web-0`" in said
    assert (await world.api.get(CLAIM, NAME, "default"))["status"]["phase"] == "Pending"
    assert 1 == len(world.driver.living)
    await world.give(volume)
    assert volume == (await world.bound())["spec"]["volumeName"]


async def test_a_class_gives_claims_of_a_recreated_namespace_new_volumes(world: World) -> None:
    """onNamespaceRecreated: Fresh, with an Event; the older volume stays as it is."""
    found = await world.api.get(STORAGE_CLASS, "mooring-directory")
    parameters = {**found["parameters"], "onNamespaceRecreated": "Fresh"}
    await world.api.create(STORAGE_CLASS, {**found, "metadata": {"name": "fresh"}, "parameters": parameters})
    volume = await _held_before_the_namespace_was_recreated(world, "fresh")
    await world.make_claim(storage_class="fresh")

    assert volume != (await world.bound())["spec"]["volumeName"]
    assert volume in await world.said("NamespaceRecreated")
    assert f"{POOL}.{volume}" in world.driver.living


async def test_an_ordinal_whose_attributes_class_changed_gets_its_volume_back(world: World) -> None:
    """It is modified to what the new claim asks for; a claim that asks for none waits, and says so."""
    for name, time in (("silver", "1h"), ("gold", "90h")):
        attributes = {"driverName": "csi.mooring.dev", "parameters": {"trashRetention": time}}
        await world.api.create(ATTRIBUTES_CLASS, {"metadata": {"name": name}, **attributes})
    await world.make_set()
    await world.make_claim(volumeAttributesClassName="silver")
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.make_claim()
    assert "silver" in await world.said("FormerVolumeBlocked")
    await world.drop_claim()
    await world.make_claim(volumeAttributesClassName="gold")

    claim = await world.bound()
    assert volume == claim["spec"]["volumeName"]
    assert "gold" == claim["status"]["currentVolumeAttributesClassName"]
    assert "gold" == (await world.api.get(VOLUME, volume))["spec"]["volumeAttributesClassName"]
    assert [{"trashRetention": "90h"}] == list(world.driver.mutable.values())


async def test_an_undeleted_scratch_volume_goes_to_the_claim_of_its_name(world: World) -> None:
    """Its class gives nothing back by itself; that an admin took it out of the trash says that it shall."""
    await world.make_set()
    await world.make_claim(storage_class="mooring-scratch")
    volume = (await world.bound())["spec"]["volumeName"]
    await world.drop_claim()
    await world.trashed(volume)
    await world.gone(volume)
    seen = await inspect(world.api, world.driver)
    await seen.restore(world.api, world.driver, seen.manifests[0])
    await world.make_volume("free", storage_class="mooring-scratch")
    await world.make_claim(storage_class="mooring-scratch")

    assert volume == (await world.bound())["spec"]["volumeName"]
    kept = await world.api.get(VOLUME, volume)
    assert "Retain" == kept["spec"]["persistentVolumeReclaimPolicy"]
