"""What the controller of VolumeAttributesClasses writes and records as Events, in which order."""

from typing import Any

import grpc
import pytest

from provisioner.actions import backoff
from provisioner.controllers.modify import Modify
from provisioner.drivers.client import RpcError
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.kinds import ATTRIBUTES_CLASS, CLAIM, VOLUME, Json
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import HANDLE, claim, volume

KEY = ("default", "www-web-0")


def _class(name: str, retention: str, driver: str = "csi.mooring.dev") -> Json:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttributesClass",
        "metadata": {"name": name},
        "driverName": driver,
        "parameters": {"trashRetention": retention},
    }


def _api(*classes: Json, requested: str = "gold", **status: Any) -> FakeApi:
    bound = claim(phase="Bound", volumeName="pvc-c1", volumeAttributesClassName=requested)
    bound["status"] |= {"capacity": {"storage": "1Gi"}, **status}
    return FakeApi((CLAIM, bound), (VOLUME, volume()), *((ATTRIBUTES_CLASS, each) for each in classes))


def _modify(api: FakeApi, driver: FakeDriver) -> Modify:
    return Modify(api, api.caches, api.recorder, drivers=driver)


def _status(api: FakeApi) -> Json:
    found: Json = api.all(CLAIM)[0]["status"]
    return found


async def test_a_volume_gets_the_parameters_of_the_class() -> None:
    """Intent, driver, volume, claim: the claim's status never reports a class that its volume does not have."""
    api, driver = _api(_class("gold", "90h")), FakeDriver()
    controller = _modify(api, driver)
    for _ in range(2):
        assert Done() == await controller.reconcile(KEY)
    assert {HANDLE: {"trashRetention": "90h"}} == driver.mutable
    assert "gold" == api.all(VOLUME)[0]["spec"]["volumeAttributesClassName"]
    status = _status(api)
    assert ("gold", False, []) == (
        status["currentVolumeAttributesClassName"],
        "modifyVolumeStatus" in status,
        status["conditions"],
    )
    assert [
        ("patch status", "persistentvolumeclaims", "www-web-0"),
        ("patch", "persistentvolumes", "pvc-c1"),
        ("patch status", "persistentvolumeclaims", "www-web-0"),
    ] == api.writes
    assert ["VolumeModify", "VolumeModifySuccessful"] == [reason for _, reason, _ in api.events]


async def test_a_missing_class_leaves_the_claim_pending() -> None:
    """The status is Pending with the reason; the class triggers the claim when it is created."""
    api, driver = _api(), FakeDriver()
    controller = _modify(api, driver)
    assert Done() == await controller.reconcile(KEY)
    assert {"status": "Pending", "targetVolumeAttributesClassName": "gold"} == _status(api)["modifyVolumeStatus"]
    assert ("VolumeModifyFailed", {}) == (api.events[0][1], driver.mutable)
    assert [KEY] == list(controller.watches()[ATTRIBUTES_CLASS](_class("gold", "90h")))
    api.put(ATTRIBUTES_CLASS, _class("gold", "90h"))
    await controller.reconcile(KEY)
    assert "gold" == _status(api)["currentVolumeAttributesClassName"]


async def test_a_class_of_another_driver_is_infeasible_until_the_claim_requests_another() -> None:
    """The driver is not called; status and condition are those of a refusal, since the class will never fit."""
    api, driver = _api(_class("gold", "90h", driver="other.example"), _class("silver", "1h")), FakeDriver()
    controller = _modify(api, driver)
    for _ in range(2):
        assert Done() == await controller.reconcile(KEY)
    assert {"status": "Infeasible", "targetVolumeAttributesClassName": "gold"} == _status(api)["modifyVolumeStatus"]
    error = next(each for each in _status(api)["conditions"] if each["type"] == "ModifyVolumeError")
    assert "is for driver other.example" in error["message"]
    assert ({}, ["VolumeModifyFailed"]) == (driver.mutable, [reason for _, reason, _ in api.events])
    requested = api.all(CLAIM)[0]
    requested["spec"]["volumeAttributesClassName"] = "silver"
    api.put(CLAIM, requested)
    assert Done() == await controller.reconcile(KEY)
    assert ("silver", []) == (_status(api)["currentVolumeAttributesClassName"], _status(api)["conditions"])


async def test_a_refused_class_is_infeasible_and_another_one_is_tried_at_once() -> None:
    """Event and condition have the driver's message; the same class is retried slowly."""
    api, driver = _api(_class("gold", "for ever"), _class("silver", "1h")), FakeDriver()
    controller = _modify(api, driver)
    driver.error = RpcError(code=grpc.StatusCode.INVALID_ARGUMENT, message="'for ever' is not a duration")
    assert isinstance(await controller.reconcile(KEY), RequeueAfter)
    assert "Infeasible" == _status(api)["modifyVolumeStatus"]["status"]
    assert ["ModifyVolumeError", "ModifyingVolume"] == sorted(each["type"] for each in _status(api)["conditions"])
    assert "'for ever' is not a duration" in api.events[-1][2]
    again = await controller.reconcile(KEY)
    assert isinstance(again, RequeueAfter)
    assert backoff.FIRST_SECONDS < again.seconds <= backoff.LAST_SECONDS
    requested = api.all(CLAIM)[0]
    requested["spec"]["volumeAttributesClassName"] = "silver"
    api.put(CLAIM, requested)
    assert Done() == await controller.reconcile(KEY)
    assert {HANDLE: {"trashRetention": "1h"}} == driver.mutable
    assert ("silver", []) == (_status(api)["currentVolumeAttributesClassName"], _status(api)["conditions"])


@pytest.mark.parametrize("state", ["Infeasible", "InProgress", "Pending"])
async def test_a_claim_that_returns_to_its_class_has_it_set_again(state: str) -> None:
    """It is unknown what an unanswered call changed; afterwards the claim has no modify status."""
    status = {"status": state, "targetVolumeAttributesClassName": "silver"}
    api = _api(_class("gold", "90h"), currentVolumeAttributesClassName="gold", modifyVolumeStatus=status)
    driver = FakeDriver()
    assert Done() == await _modify(api, driver).reconcile(KEY)
    assert ({HANDLE: {"trashRetention": "90h"}}, False, "gold") == (
        driver.mutable,
        "modifyVolumeStatus" in _status(api),
        _status(api)["currentVolumeAttributesClassName"],
    )


async def test_a_first_request_that_is_withdrawn_leaves_no_status() -> None:
    """There is no earlier class to return to, and the driver is not called."""
    status = {"status": "Infeasible", "targetVolumeAttributesClassName": "silver"}
    api, driver = _api(requested="", modifyVolumeStatus=status), FakeDriver()
    assert Done() == await _modify(api, driver).reconcile(KEY)
    assert ({}, False) == (driver.mutable, "modifyVolumeStatus" in _status(api))
