"""What the expansion controller writes, in which order, and what it says."""

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


def _driver(*, node_too: bool = False) -> FakeDriver:
    driver = FakeDriver()
    driver.living[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", capacity_bytes=GIB)
    driver.node_too = node_too
    return driver


def _api(size: str = "2Gi", **status: Any) -> FakeApi:
    """A bound claim that has 1Gi and asks for `size`."""
    asked = claim(phase="Bound", volumeName="pvc-c1", resources={"requests": {"storage": size}})
    asked["status"] |= {"capacity": {"storage": "1Gi"}, **status}
    return FakeApi(
        (CLAIM, asked), (VOLUME, volume()), (STORAGE_CLASS, storage_class() | {"allowVolumeExpansion": True})
    )


def _expand(api: FakeApi, driver: FakeDriver) -> Expand:
    return Expand(api, api.caches, api.recorder, drivers=driver)


def _status(api: FakeApi) -> Json:
    found: Json = api.all(CLAIM)[0]["status"]
    return found


def _conditions(api: FakeApi) -> list[str]:
    return sorted(each["type"] for each in _status(api).get("conditions") or [])


def _ask(api: FakeApi, size: str) -> None:
    """The user changes the request."""
    asked = api.all(CLAIM)[0]
    asked["spec"]["resources"]["requests"]["storage"] = size
    api.put(CLAIM, asked)


async def test_a_volume_without_a_filesystem_of_its_own_grows_at_once() -> None:
    """Driver, PersistentVolume, then the claim's status: the order in which nothing is promised that is not there."""
    api, driver = _api(), _driver()
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert 2 * GIB == driver.living[HANDLE].capacity_bytes
    assert "2Gi" == api.all(VOLUME)[0]["spec"]["capacity"]["storage"]
    assert {"storage": "2Gi"} == _status(api)["capacity"] == _status(api)["allocatedResources"]
    assert ("allocatedResourceStatuses" not in _status(api), []) == (True, _conditions(api))
    assert [
        ("patch status", "persistentvolumeclaims", "www-web-0"),
        ("patch", "persistentvolumes", "pvc-c1"),
        ("patch status", "persistentvolumeclaims", "www-web-0"),
    ] == api.writes
    assert ["Resizing", "VolumeResizeSuccessful"] == [reason for _, reason, _ in api.events]


async def test_a_filesystem_that_has_to_follow_is_left_to_the_node() -> None:
    """The claim keeps its capacity until then, and the volume remembers it for whoever is bound to it meanwhile."""
    api, driver = _api(), _driver(node_too=True)
    controller = _expand(api, driver)
    for _ in range(2):
        assert Done() == await controller.reconcile(KEY)
    held = api.all(VOLUME)[0]
    assert ("2Gi", "1Gi") == (held["spec"]["capacity"]["storage"], held["metadata"]["annotations"][BEFORE])
    assert {"storage": "NodeResizePending"} == _status(api)["allocatedResourceStatuses"]
    assert ({"storage": "1Gi"}, ["FileSystemResizePending"]) == (_status(api)["capacity"], _conditions(api))
    assert ["Resizing", "FileSystemResizeRequired"] == [reason for _, reason, _ in api.events]
    assert 3 == len(api.writes)


async def test_the_note_of_the_former_size_goes_when_the_node_is_done() -> None:
    """Else a later claim would be told that the volume has less than it has."""
    api, driver = _api(), _driver(node_too=True)
    controller = _expand(api, driver)
    await controller.reconcile(KEY)
    done = api.all(CLAIM)[0]
    done["status"] = {"phase": "Bound", "capacity": {"storage": "2Gi"}}
    api.put(CLAIM, done)
    await controller.reconcile(KEY)
    assert BEFORE not in api.all(VOLUME)[0]["metadata"]["annotations"]


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"])
async def test_what_cannot_be_is_told_and_a_smaller_wish_takes_over_at_once(code: str) -> None:
    """ControllerResizeInfeasible with the driver's sentence; the same is tried slowly, something else immediately."""
    api, driver = _api("9Gi"), _driver()
    controller = _expand(api, driver)
    driver.error = RpcError(code=grpc.StatusCode[code], message="pool local can have 3Gi at most")
    assert RequeueAfter(backoff.LAST_SECONDS, "pool local can have 3Gi at most") == await controller.reconcile(KEY)
    assert {"storage": "ControllerResizeInfeasible"} == _status(api)["allocatedResourceStatuses"]
    assert ("Warning", "VolumeResizeFailed") == api.events[-1][:2]
    assert "pool local can have 3Gi at most" in api.events[-1][2]
    writes = len(api.writes)
    assert isinstance(await controller.reconcile(KEY), RequeueAfter)
    assert (GIB, writes) == (driver.living[HANDLE].capacity_bytes, len(api.writes))
    _ask(api, "2Gi")
    assert Done() == await controller.reconcile(KEY)
    assert ({"storage": "2Gi"}, []) == (_status(api)["capacity"], _conditions(api))


async def test_what_may_still_be_going_on_is_finished_before_a_smaller_wish() -> None:
    """Without a final answer nobody knows what the driver has done: the size that was begun is asked for again."""
    api, driver = _api("4Gi"), _driver()
    driver.error = RpcError(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="it takes long")
    assert isinstance(await _expand(api, driver).reconcile(KEY), RequeueAfter)
    assert ["ControllerResizeError", "Resizing"] == _conditions(api)
    _ask(api, "2Gi")
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert ({"storage": "4Gi"}, 4 * GIB) == (_status(api)["capacity"], driver.living[HANDLE].capacity_bytes)


async def test_a_driver_that_is_away_is_no_failure() -> None:
    """It is asked again as soon as it answers, and nobody is alarmed."""
    api, driver = _api(), _driver()
    controller = _expand(api, driver)
    driver.error = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="away")
    assert isinstance(await controller.reconcile(KEY), RequeueAfter)
    assert ["Normal"] == [kind for kind, _, _ in api.events]
    assert Done() == await controller.reconcile(KEY)


async def test_the_own_writes_of_a_failed_try_do_not_bring_the_next_one() -> None:
    """A status write wakes the claim at once; the pause holds all the same."""
    api, driver = _api(), _driver()
    controller = _expand(api, driver)
    driver.error = RpcError(code=grpc.StatusCode.INTERNAL, message="the disk is busy")
    await controller.reconcile(KEY)
    again = await controller.reconcile(KEY)
    assert isinstance(again, RequeueAfter)
    assert 0 < again.seconds <= backoff.FIRST_SECONDS
    assert GIB == driver.living[HANDLE].capacity_bytes


async def test_a_class_that_does_not_allow_it_is_named() -> None:
    """I7: an Event says what to change; the driver is not asked."""
    api, driver = _api(), _driver()
    api.put(STORAGE_CLASS, storage_class())
    controller = _expand(api, driver)
    assert Done() == await controller.reconcile(KEY)
    assert ("VolumeResizeFailed", GIB) == (api.events[0][1], driver.living[HANDLE].capacity_bytes)
    assert "allowVolumeExpansion: true" in api.events[0][2]
    assert [KEY] == list(controller.watches()[STORAGE_CLASS](storage_class()))


async def test_what_a_node_refused_is_begun_anew_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node does not try again by itself then; the controller lets it, slowly."""
    monkeypatch.setattr(backoff, "LAST_SECONDS", 0.0)
    state: dict[str, Any] = {
        "allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"},
        "allocatedResources": {"storage": "2Gi"},
    }
    api, driver = _api(**state), _driver(node_too=True)
    assert Done() == await _expand(api, driver).reconcile(KEY)
    assert {"storage": "NodeResizePending"} == _status(api)["allocatedResourceStatuses"]
    monkeypatch.setattr(backoff, "LAST_SECONDS", 60.0)
    api = _api(**state)
    assert isinstance(await _expand(api, driver).reconcile(KEY), RequeueAfter)
    assert [] == api.writes
