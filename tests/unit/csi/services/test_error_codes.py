"""The gRPC code of every refusal, as one table; a refusal always has a message and never details."""

from typing import Any

import grpc
import pytest

from csi.errors import CsiError
from csi.services.edge import CODES
from csi.v1 import csi_pb2, inventory_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, Mode, capability, raw

POOL = "11111111-1111-1111-1111-111111111111"
MISSING = f"{POOL}.missing"
LONG = "x" * 129
CAP = [capability()]
R = csi_pb2

TABLE: dict[str, tuple[str, str, Any, str, str]] = {
    # case: (service, method, request, code, part of the message)
    "create without a name": ("controller", "CreateVolume", R.CreateVolumeRequest(volume_capabilities=CAP), "INVALID_ARGUMENT", "name is missing"),
    "create with a long name": ("controller", "CreateVolume", R.CreateVolumeRequest(name=LONG, volume_capabilities=CAP), "INVALID_ARGUMENT", "128"),
    "create with a control character": ("controller", "CreateVolume", R.CreateVolumeRequest(name="a\x01", volume_capabilities=CAP), "INVALID_ARGUMENT", "control"),
    "create without capabilities": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v"), "INVALID_ARGUMENT", "volume_capabilities"),
    "create without an access mode": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(Mode.UNKNOWN)]), "INVALID_ARGUMENT", "access mode"),
    "create with an unknown parameter": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"sise": "1"}), "INVALID_ARGUMENT", "valid are adopt, backend"),
    "create with a wrong backend": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"backend": "zfs"}), "INVALID_ARGUMENT", "directory, loop"),
    "create with a wrong duration": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"trashRetention": "1d"}), "INVALID_ARGUMENT", "30m"),
    "create in an unknown pool": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"pool": "x"}), "INVALID_ARGUMENT", "its pools are local"),
    "create with too many parameters": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"pool": "x" * 4097}), "INVALID_ARGUMENT", "4096"),
    "create with mutable parameters": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, mutable_parameters={"a": "b"}), "INVALID_ARGUMENT", "valid are trashRetention"),
    "create a contradiction": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, capacity_range=R.CapacityRange(required_bytes=2, limit_bytes=1)), "INVALID_ARGUMENT", "more than"),
    "create too much": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, capacity_range=R.CapacityRange(required_bytes=1 << 59)), "RESOURCE_EXHAUSTED", "can reserve"),
    "create beyond the largest size": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, capacity_range=R.CapacityRange(required_bytes=1 << 61)), "OUT_OF_RANGE", "the maximum is"),
    "create on another node": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, accessibility_requirements=R.TopologyRequirement(requisite=[R.Topology(segments={"topology.mooring.dev/node": "m"})])), "RESOURCE_EXHAUSTED", "requested on m"),
    "delete without an id": ("controller", "DeleteVolume", R.DeleteVolumeRequest(), "INVALID_ARGUMENT", "volume_id"),
    "delete a missing volume": ("controller", "DeleteVolume", R.DeleteVolumeRequest(volume_id=MISSING), "OK", ""),
    "delete a malformed id": ("controller", "DeleteVolume", R.DeleteVolumeRequest(volume_id="../../etc"), "OK", ""),
    "validate without capabilities": ("controller", "ValidateVolumeCapabilities", R.ValidateVolumeCapabilitiesRequest(volume_id=MISSING), "INVALID_ARGUMENT", "capabilities"),
    "validate a missing volume": ("controller", "ValidateVolumeCapabilities", R.ValidateVolumeCapabilitiesRequest(volume_id=MISSING, volume_capabilities=CAP), "NOT_FOUND", "does not exist"),
    "list with a bad token": ("controller", "ListVolumes", R.ListVolumesRequest(starting_token="x"), "ABORTED", "first page"),
    "list with a negative size": ("controller", "ListVolumes", R.ListVolumesRequest(max_entries=-1), "INVALID_ARGUMENT", "negative"),
    "get a missing volume": ("controller", "ControllerGetVolume", R.ControllerGetVolumeRequest(volume_id=MISSING), "NOT_FOUND", "does not exist"),
    "capacity without parameters": ("controller", "GetCapacity", R.GetCapacityRequest(), "OK", ""),
    "attach": ("controller", "ControllerPublishVolume", R.ControllerPublishVolumeRequest(volume_id=MISSING), "UNIMPLEMENTED", ""),
    "detach": ("controller", "ControllerUnpublishVolume", R.ControllerUnpublishVolumeRequest(volume_id=MISSING), "UNIMPLEMENTED", ""),
    "modify without an id": ("controller", "ControllerModifyVolume", R.ControllerModifyVolumeRequest(mutable_parameters={"a": "b"}), "INVALID_ARGUMENT", "volume_id"),
    "modify a missing volume": ("controller", "ControllerModifyVolume", R.ControllerModifyVolumeRequest(volume_id=MISSING, mutable_parameters={"a": "b"}), "NOT_FOUND", "does not exist"),
    "expand without an id": ("controller", "ControllerExpandVolume", R.ControllerExpandVolumeRequest(capacity_range=R.CapacityRange(required_bytes=1)), "INVALID_ARGUMENT", "volume_id"),
    "expand without a size": ("controller", "ControllerExpandVolume", R.ControllerExpandVolumeRequest(volume_id=MISSING), "INVALID_ARGUMENT", "capacity_range"),
    "expand a missing volume": ("controller", "ControllerExpandVolume", R.ControllerExpandVolumeRequest(volume_id=MISSING, capacity_range=R.CapacityRange(required_bytes=1)), "NOT_FOUND", "does not exist"),
    "health without an id": ("controller", "ControllerGetVolumeHealth", R.ControllerGetVolumeHealthRequest(), "INVALID_ARGUMENT", "volume_id"),
    "health of a missing volume": ("controller", "ControllerGetVolumeHealth", R.ControllerGetVolumeHealthRequest(volume_id=MISSING), "NOT_FOUND", "does not exist"),
    "health of all with a bad token": ("controller", "ControllerListVolumeHealth", R.ControllerListVolumeHealthRequest(starting_token="x"), "ABORTED", "first page"),
    "health with a negative size": ("controller", "ControllerListVolumeHealth", R.ControllerListVolumeHealthRequest(max_entries=-1), "INVALID_ARGUMENT", "negative"),
    "snapshot": ("controller", "CreateSnapshot", R.CreateSnapshotRequest(name="s", source_volume_id=MISSING), "UNIMPLEMENTED", ""),
    "delete a snapshot": ("controller", "DeleteSnapshot", R.DeleteSnapshotRequest(snapshot_id=MISSING), "UNIMPLEMENTED", ""),
    "snapshots": ("controller", "ListSnapshots", R.ListSnapshotsRequest(), "UNIMPLEMENTED", ""),
    "one snapshot": ("controller", "GetSnapshot", R.GetSnapshotRequest(snapshot_id=MISSING), "UNIMPLEMENTED", ""),
    "create with options of mkfs for a directory": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, parameters={"mkfsOptions": "-i 1"}), "INVALID_ARGUMENT", "backend loop only"),
    "create with a source": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=CAP, volume_content_source=R.VolumeContentSource()), "INVALID_ARGUMENT", "no source"),
    "create raw and mounted at once": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[*CAP, raw()]), "INVALID_ARGUMENT", "not both"),
    "create for many nodes": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(Mode.MULTI_NODE_MULTI_WRITER)]), "INVALID_ARGUMENT", "one node"),
    "create with an unknown access mode": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(99)]), "INVALID_ARGUMENT", "access mode 99 is unknown"),
    "validate an unknown access mode": ("controller", "ValidateVolumeCapabilities", R.ValidateVolumeCapabilitiesRequest(volume_id=MISSING, volume_capabilities=[capability(99)]), "INVALID_ARGUMENT", "access mode 99 is unknown"),
    "stage with an unknown access mode": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, staging_target_path="/x", volume_capability=capability(99)), "INVALID_ARGUMENT", "access mode 99 is unknown"),
    "unpublish from a path with a long name": ("node", "NodeUnpublishVolume", R.NodeUnpublishVolumeRequest(volume_id=MISSING, target_path="/" + "a" * 256), "INVALID_ARGUMENT", "255"),
    "create with a dangerous mount option": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(flags=["errors=panic"])]), "INVALID_ARGUMENT", "'errors=panic' is not possible"),
    "create with a mount group": ("controller", "CreateVolume", R.CreateVolumeRequest(name="v", volume_capabilities=[capability(group="4711")]), "INVALID_ARGUMENT", "volume_mount_group is not supported"),
    "capacity with an unknown parameter": ("controller", "GetCapacity", R.GetCapacityRequest(parameters={"sise": "1"}), "INVALID_ARGUMENT", "valid are"),
    "node health without an id": ("node", "NodeGetVolumeHealth", R.NodeGetVolumeHealthRequest(), "INVALID_ARGUMENT", "volume_id"),
    "node health of a missing volume": ("node", "NodeGetVolumeHealth", R.NodeGetVolumeHealthRequest(volume_id=MISSING), "NOT_FOUND", "does not exist"),
    "health of the pools": ("node", "NodeGetStorageHealth", R.NodeGetStorageHealthRequest(), "OK", ""),
    "node expand without an id": ("node", "NodeExpandVolume", R.NodeExpandVolumeRequest(volume_path="/x"), "INVALID_ARGUMENT", "volume_id"),
    "node expand a missing volume": ("node", "NodeExpandVolume", R.NodeExpandVolumeRequest(volume_id=MISSING, volume_path="some/path"), "NOT_FOUND", "does not exist"),
    "publish without an id": ("node", "NodePublishVolume", R.NodePublishVolumeRequest(target_path="/y", volume_capability=CAP[0]), "INVALID_ARGUMENT", "volume_id"),
    "unpublish without a target": ("node", "NodeUnpublishVolume", R.NodeUnpublishVolumeRequest(volume_id=MISSING), "INVALID_ARGUMENT", "target_path"),
    "unstage without a path": ("node", "NodeUnstageVolume", R.NodeUnstageVolumeRequest(volume_id=MISSING), "INVALID_ARGUMENT", "staging_target_path"),
    "capabilities of the plugin": ("identity", "GetPluginCapabilities", R.GetPluginCapabilitiesRequest(), "OK", ""),
    "capabilities of the controller": ("controller", "ControllerGetCapabilities", R.ControllerGetCapabilitiesRequest(), "OK", ""),
    "capabilities of the node": ("node", "NodeGetCapabilities", R.NodeGetCapabilitiesRequest(), "OK", ""),
    "pools": ("inventory", "ListPools", inventory_pb2.ListPoolsRequest(), "OK", ""),
    "manifests with a bad token": ("inventory", "ListManifests", inventory_pb2.ListManifestsRequest(page_token="x"), "ABORTED", "first page"),
    "trash with a bad token": ("inventory", "ListTrash", inventory_pb2.ListTrashRequest(page_token="x"), "ABORTED", "first page"),
    "plugin info": ("identity", "GetPluginInfo", R.GetPluginInfoRequest(), "OK", ""),
    "probe": ("identity", "Probe", R.ProbeRequest(), "OK", ""),
    "node info": ("node", "NodeGetInfo", R.NodeGetInfoRequest(), "OK", ""),
    "stage without a path": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, volume_capability=CAP[0]), "INVALID_ARGUMENT", "staging_target_path"),
    "stage without a capability": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, staging_target_path="/x"), "INVALID_ARGUMENT", "capability"),
    "stage at a relative path": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, staging_target_path="x", volume_capability=CAP[0]), "INVALID_ARGUMENT", "absolute"),
    "stage at a path with two dots": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, staging_target_path="/a/../b", volume_capability=CAP[0]), "INVALID_ARGUMENT", ".."),
    "stage a missing volume": ("node", "NodeStageVolume", R.NodeStageVolumeRequest(volume_id=MISSING, staging_target_path="/x", volume_capability=CAP[0]), "NOT_FOUND", "does not exist"),
    "publish a missing volume": ("node", "NodePublishVolume", R.NodePublishVolumeRequest(volume_id=MISSING, staging_target_path="/x", target_path="/y", volume_capability=CAP[0]), "NOT_FOUND", "does not exist"),
    "publish without a target": ("node", "NodePublishVolume", R.NodePublishVolumeRequest(volume_id=MISSING, staging_target_path="/x", volume_capability=CAP[0]), "INVALID_ARGUMENT", "target_path"),
    "unpublish a missing volume": ("node", "NodeUnpublishVolume", R.NodeUnpublishVolumeRequest(volume_id=MISSING, target_path="/y"), "NOT_FOUND", "does not exist"),
    "unstage a missing volume": ("node", "NodeUnstageVolume", R.NodeUnstageVolumeRequest(volume_id=MISSING, staging_target_path="/y"), "NOT_FOUND", "does not exist"),
    "stats without a path": ("node", "NodeGetVolumeStats", R.NodeGetVolumeStatsRequest(volume_id=MISSING), "INVALID_ARGUMENT", "volume_path"),
    "stats at a relative path": ("node", "NodeGetVolumeStats", R.NodeGetVolumeStatsRequest(volume_id=MISSING, volume_path="some/path"), "NOT_FOUND", "not mounted"),
    "owner of a missing volume": ("inventory", "RecordHolder", inventory_pb2.RecordHolderRequest(volume_id=MISSING, holder=inventory_pb2.Holder(labels={"a": "b"})), "NOT_FOUND", "does not exist"),
    "no owner labels": ("inventory", "RecordHolder", inventory_pb2.RecordHolderRequest(volume_id=MISSING), "INVALID_ARGUMENT", "labels"),
    "undelete a missing volume": ("inventory", "Undelete", inventory_pb2.UndeleteRequest(volume_id=MISSING), "NOT_FOUND", "not in the trash"),
    "import a missing item": ("inventory", "Import", inventory_pb2.ImportRequest(name="new", item="nothing"), "NOT_FOUND", "no nothing to import"),
    "import without a name": ("inventory", "Import", inventory_pb2.ImportRequest(item="nothing"), "INVALID_ARGUMENT", "name"),
    "use of a missing volume": ("inventory", "GetUse", inventory_pb2.GetUseRequest(volume_id=MISSING), "NOT_FOUND", "does not exist"),
    "use without an id": ("inventory", "GetUse", inventory_pb2.GetUseRequest(), "INVALID_ARGUMENT", "volume_id"),
    "purge without a volume and without all": ("inventory", "Purge", inventory_pb2.PurgeRequest(), "INVALID_ARGUMENT", "either volume_id or all"),
}  # fmt: skip


def test_every_refusal_has_its_code_and_a_message(driver: Driver) -> None:
    """One driver serves the whole table: no request changes the response to the next one."""
    wrong = {}
    for case, (service, method, request, code, expected) in TABLE.items():
        found, message = "OK", ""
        try:
            getattr(getattr(driver, service), method)(request, timeout=SECONDS)
        except grpc.RpcError as error:
            found, message = error.code().name, error.details() or ""
            assert "details" not in str(error.trailing_metadata())
        if found != code or expected not in message or (found not in {"OK", "UNIMPLEMENTED"} and not message):
            wrong[case] = (found, message)

    assert wrong == {}
    assert list(driver.controller.ListVolumes(csi_pb2.ListVolumesRequest()).entries) == []


def test_the_table_has_every_rpc() -> None:
    """It has those of all services on the driver's socket."""
    services = {
        "identity": csi_pb2.DESCRIPTOR.services_by_name["Identity"],
        "controller": csi_pb2.DESCRIPTOR.services_by_name["Controller"],
        "node": csi_pb2.DESCRIPTOR.services_by_name["Node"],
        "inventory": inventory_pb2.DESCRIPTOR.services_by_name["Inventory"],
    }
    every = {(name, method.name) for name, service in services.items() for method in service.methods}

    assert every - {(service, method) for service, method, *_ in TABLE.values()} == set()


def test_every_error_of_the_driver_has_a_code() -> None:
    """The table of codes is complete."""
    assert set(CsiError.__subclasses__()) <= CODES.keys()


def test_a_volume_that_differs_already_exists(driver: Driver) -> None:
    """Size, parameters or access type count; the owner record does not."""
    first = driver.create("v", size=1 << 20, more={"mooring.dev/claim": "a"})

    assert driver.create("v", size=1 << 20, more={"mooring.dev/claim": "b"}).volume_id == first.volume_id
    for size, parameters in ((1 << 21, {}), (1 << 20, {"trashRetention": "1h"}), (1 << 20, {"pool": "local"})):
        with pytest.raises(grpc.RpcError) as refused:
            driver.create("v", size=size, more=parameters)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_the_pages_have_all_volumes(driver: Driver) -> None:
    """Two volumes a page; the last page has no token."""
    created = {driver.create(f"v{number}").volume_id for number in range(5)}
    seen: list[str] = []
    token, pages = "", 0
    while pages == 0 or token:
        response = driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(max_entries=2, starting_token=token))
        seen += [each.volume.volume_id for each in response.entries]
        token, pages = response.next_token, pages + 1

    assert (sorted(seen), pages) == (sorted(created), 3)


def test_the_context_describes_the_volume(driver: Driver) -> None:
    """It has the backend, the pool, and that the size is only accounted."""
    volume = driver.create("v")

    context = {"mooring.dev/backend": "directory", "mooring.dev/pool": "local", "mooring.dev/size": "accounted"}
    assert dict(volume.volume_context) == context
    assert [dict(each.segments) for each in volume.accessible_topology] == [{"topology.mooring.dev/node": "n"}]


def test_no_secret_reaches_the_log(driver: Driver) -> None:
    """Neither one of a successful request nor one of a refused request."""
    canary = "canary-4711"
    for name in ("", "v"):
        request = csi_pb2.CreateVolumeRequest(name=name, volume_capabilities=CAP, secrets={"key": canary})
        try:
            driver.controller.CreateVolume(request, timeout=SECONDS)
        except grpc.RpcError as error:
            assert canary not in str(error.details())

    assert canary not in driver.log.read_text(encoding="utf-8")
