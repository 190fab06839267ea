"""What the expansion controller writes and records as Events, in which order."""

from typing import Any

import grpc
import pytest

from csi.v1 import inventory_pb2
from provisioner.actions import backoff
from provisioner.controllers.expand import Expand
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.kinds import CLAIM, STORAGE_CLASS, VOLUME, Json
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import HANDLE, claim, storage_class, volume

KEY = ("default", "www-web-0")
GIB = 1 << 30
BEFORE = "volume.alpha.kubernetes.io/pre-resize-capacity"


def _driver(*, node_expansion_required: bool = False) -> FakeDriver:
    driver = FakeDriver()
    driver.live[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", capacity_bytes=GIB)
    driver.node_expansion_required = node_expansion_required
    return driver


def _api(size: str = "2Gi", **status: Any) -> FakeApi:
    """Return an API server with a bound claim that has 1Gi and requests `size`."""
    requested = claim(phase="Bound", volumeName="pvc-c1", resources={"requests": {"storage": size}})
    requested["status"] |= {"capacity": {"storage": "1Gi"}, **status}
    return FakeApi(
        (CLAIM, requested), (VOLUME, volume()), (STORAGE_CLASS, storage_class() | {"allowVolumeExpansion": True})
    )


def _expand(api: FakeApi, driver: FakeDriver) -> Expand:
    return Expand(api, api.caches, api.recorder, drivers=driver)


def _status(api: FakeApi) -> Json:
    found: Json = api.all(CLAIM)[0]["status"]
    return found


def _conditions(api: FakeApi) -> list[str]:
    return sorted(each["type"] for each in _status(api).get("conditions") or [])


def _request(api: FakeApi, size: str) -> None:
    """Change the claim's request, as a user does."""
    requested = api.all(CLAIM)[0]
    requested["spec"]["resources"]["requests"]["storage"] = size
    api.put(CLAIM, requested)


async def test_a_volume_without_a_node_expand_is_finished_at_once() -> None:
    """Driver, PersistentVolume, then the claim's status: no object reports a size that the volume does not have."""
    api, driver = _api(), _driver()
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert 2 * GIB == driver.live[HANDLE].capacity_bytes
    assert "2Gi" == api.all(VOLUME)[0]["spec"]["capacity"]["storage"]
    assert {"storage": "2Gi"} == _status(api)["capacity"] == _status(api)["allocatedResources"]
    assert ("allocatedResourceStatuses" not in _status(api), []) == (True, _conditions(api))
    assert [
        ("patch status", "persistentvolumeclaims", "www-web-0"),
        ("patch", "persistentvolumes", "pvc-c1"),
        ("patch status", "persistentvolumeclaims", "www-web-0"),
    ] == api.writes
    assert ["Resizing", "VolumeResizeSuccessful"] == [reason for _, reason, _ in api.events]


async def test_a_filesystem_is_expanded_by_the_node() -> None:
    """The claim keeps its capacity until then, which is in an annotation of the volume for a later claim."""
    api, driver = _api(), _driver(node_expansion_required=True)
    controller = _expand(api, driver)
    for _ in range(2):
        assert Done() == await controller.reconcile(KEY)
    pv = api.all(VOLUME)[0]
    assert ("2Gi", "1Gi") == (pv["spec"]["capacity"]["storage"], pv["metadata"]["annotations"][BEFORE])
    assert {"storage": "NodeResizePending"} == _status(api)["allocatedResourceStatuses"]
    assert ({"storage": "1Gi"}, ["FileSystemResizePending"]) == (_status(api)["capacity"], _conditions(api))
    assert ["Resizing", "FileSystemResizeRequired"] == [reason for _, reason, _ in api.events]
    assert 3 == len(api.writes)


async def test_the_annotation_of_the_former_size_is_removed_after_the_node_expand() -> None:
    """Otherwise a later claim would report less than the volume has."""
    api, driver = _api(), _driver(node_expansion_required=True)
    controller = _expand(api, driver)
    await controller.reconcile(KEY)
    done = api.all(CLAIM)[0]
    done["status"] = {"phase": "Bound", "capacity": {"storage": "2Gi"}}
    api.put(CLAIM, done)
    await controller.reconcile(KEY)
    assert BEFORE not in api.all(VOLUME)[0]["metadata"]["annotations"]


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"])
async def test_an_infeasible_size_is_reported_and_a_smaller_request_is_tried_at_once(code: str) -> None:
    """ControllerResizeInfeasible with the driver's message; the same request is retried slowly."""
    api, driver = _api("9Gi"), _driver()
    controller = _expand(api, driver)
    driver.error = RpcError(code=grpc.StatusCode[code], message="pool local can have 3Gi at most")
    assert RequeueAfter(backoff.LAST_SECONDS, "pool local can have 3Gi at most") == await controller.reconcile(KEY)
    assert {"storage": "ControllerResizeInfeasible"} == _status(api)["allocatedResourceStatuses"]
    assert ("Warning", "VolumeResizeFailed") == api.events[-1][:2]
    assert "pool local can have 3Gi at most" in api.events[-1][2]
    writes = len(api.writes)
    assert isinstance(await controller.reconcile(KEY), RequeueAfter)
    assert (GIB, writes) == (driver.live[HANDLE].capacity_bytes, len(api.writes))
    _request(api, "2Gi")
    assert Done() == await controller.reconcile(KEY)
    assert ({"storage": "2Gi"}, []) == (_status(api)["capacity"], _conditions(api))


async def test_an_unfinished_expansion_is_finished_before_a_smaller_request() -> None:
    """Without a final answer it is unknown what the driver has done: the size that was begun is requested again."""
    api, driver = _api("4Gi"), _driver()
    driver.error = RpcError(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="timed out")
    assert isinstance(await _expand(api, driver).reconcile(KEY), RequeueAfter)
    assert ["ControllerResizeError", "Resizing"] == _conditions(api)
    _request(api, "2Gi")
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert ({"storage": "4Gi"}, 4 * GIB) == (_status(api)["capacity"], driver.live[HANDLE].capacity_bytes)


async def test_an_unavailable_driver_is_not_a_failure() -> None:
    """The driver is called again as soon as it is available, and there is no warning."""
    api, driver = _api(), _driver()
    controller = _expand(api, driver)
    driver.error = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="unavailable")
    assert isinstance(await controller.reconcile(KEY), RequeueAfter)
    assert ["Normal"] == [kind for kind, _, _ in api.events]
    assert Done() == await controller.reconcile(KEY)


async def test_status_writes_after_a_failure_do_not_shorten_the_backoff() -> None:
    """A status write triggers the claim at once."""
    api, driver = _api(), _driver()
    controller = _expand(api, driver)
    driver.error = RpcError(code=grpc.StatusCode.INTERNAL, message="the disk is busy")
    await controller.reconcile(KEY)
    again = await controller.reconcile(KEY)
    assert isinstance(again, RequeueAfter)
    assert 0 < again.seconds <= backoff.FIRST_SECONDS
    assert GIB == driver.live[HANDLE].capacity_bytes


async def test_a_class_that_does_not_allow_expansion_is_named() -> None:
    """I7: the Event has what to change; the driver is not called."""
    api, driver = _api(), _driver()
    api.put(STORAGE_CLASS, storage_class())
    controller = _expand(api, driver)
    assert Done() == await controller.reconcile(KEY)
    assert ("VolumeResizeFailed", GIB) == (api.events[0][1], driver.live[HANDLE].capacity_bytes)
    assert "allowVolumeExpansion: true" in api.events[0][2]
    assert [KEY] == list(controller.watches()[STORAGE_CLASS](storage_class()))


async def test_after_the_refusal_of_a_node_the_controller_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node does not retry by itself then; the controller does so slowly."""
    monkeypatch.setattr(backoff, "LAST_SECONDS", 0.0)
    state: dict[str, Any] = {
        "allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"},
        "allocatedResources": {"storage": "2Gi"},
    }
    api, driver = _api(**state), _driver(node_expansion_required=True)
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert {"storage": "NodeResizePending"} == _status(api)["allocatedResourceStatuses"]
    monkeypatch.setattr(backoff, "LAST_SECONDS", 60.0)
    api = _api(**state)
    assert isinstance(await _expand(api, driver).reconcile(KEY), RequeueAfter)
    assert [] == api.writes
