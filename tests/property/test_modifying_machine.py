"""
With failures in any order, a claim never reports attributes that its volume does not have.

The reconciler runs on an API server and a driver in memory: calls are refused, or cut off before or after they take
effect; writes are lost; classes are created late; the user requests another class during a change.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from unittest.mock import patch as replaced

import grpc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from provisioner.actions import backoff
from provisioner.controllers.modify import Modify
from provisioner.drivers.client import RpcError
from provisioner.kube.errors import ApiError
from provisioner.model.kinds import ATTRIBUTES_CLASS, CLAIM, VOLUME, Json
from tests.sweeps import times
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.flaky_api import FlakyApi
from tests.unit.provisioner.controllers.objects import HANDLE, claim, volume

KEY = ("default", "www-web-0")
NAMES = ("silver", "gold", "wrong")
FAILURES = st.sampled_from(["", "", "INTERNAL", "DEADLINE_EXCEEDED", "cut off"])


class _Driver(FakeDriver):
    """A driver that stores the attributes of every volume, and refuses the class `wrong`."""

    failure = ""

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        if parameters["name"] == "wrong":
            raise RpcError(code=grpc.StatusCode.INVALID_ARGUMENT, message="no such attribute")
        failure, self.failure = self.failure, ""
        if failure not in {"", "cut off"}:
            raise RpcError(code=grpc.StatusCode[failure], message=failure)
        await super().modify_volume(handle, parameters)
        if failure:
            raise RpcError(code=grpc.StatusCode.DEADLINE_EXCEEDED, message=failure)


class Modifying(RuleBasedStateMachine):
    """One bound claim and its volume; the parameters of a class contain its name."""

    def __init__(self) -> None:
        super().__init__()
        bound = claim(phase="Bound", volumeName="pvc-c1")
        self.api = FlakyApi((CLAIM, bound), (VOLUME, volume()))
        self.driver = _Driver()
        self.restart()

    @initialize(existing=st.sampled_from([NAMES, NAMES, NAMES[:1], ()]), requested=st.sampled_from(NAMES))
    def begin(self, existing: tuple[str, ...], requested: str) -> None:
        """Create some classes, and request the first one."""
        for name in existing:
            self.create_class(name)
        self.request(requested, "")

    @rule(name=st.sampled_from(NAMES))
    def create_class(self, name: str) -> None:
        """Create a class; an existing one does not change."""
        found: Json = {"metadata": {"name": name}, "driverName": "csi.mooring.dev", "parameters": {"name": name}}
        self.api.put(ATTRIBUTES_CLASS, found)

    @rule()
    def restart(self) -> None:
        """Restart the controller: it loses all state that is not in the API."""
        self.controller = Modify(self.api, self.api.caches, self.api.recorder, drivers=self.driver)

    @rule(name=st.sampled_from(NAMES), failure=FAILURES)
    def request(self, name: str, failure: str) -> None:
        """Request a class, also during a change to another one, and reconcile."""
        bound = self.api.all(CLAIM)[0]
        bound["spec"]["volumeAttributesClassName"] = name
        self.api.put(CLAIM, bound)
        self.act(failure, -1, after=False)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1, 2]), after=st.booleans())
    def act(self, failure: str, countdown: int, after: bool) -> None:
        """Reconcile, with a possible failure."""
        self.driver.failure, self.api.countdown, self.api.after = failure, countdown, after
        with replaced.multiple(backoff, FIRST_SECONDS=0.0, LAST_SECONDS=0.0):
            asyncio.run(self._reconcile())
        self.driver.failure, self.api.countdown = "", -1

    @rule()
    def settle(self) -> None:
        """Reconcile without failures: a feasible change is complete, any other has the reason in the claim's status."""
        self.restart()
        for _ in range(3):
            self.act("", -1, after=False)
        bound = self.api.all(CLAIM)[0]
        requested, status = bound["spec"]["volumeAttributesClassName"], bound["status"]
        existing = {each["metadata"]["name"] for each in self.api.all(ATTRIBUTES_CLASS)}
        if requested == status.get("currentVolumeAttributesClassName"):
            assert ("modifyVolumeStatus" in status, status.get("conditions") or []) == (False, [])
        elif requested in existing:
            assert (requested, "Infeasible") == ("wrong", status["modifyVolumeStatus"]["status"])
        else:
            assert {"status": "Pending", "targetVolumeAttributesClassName": requested} == status["modifyVolumeStatus"]

    async def _reconcile(self) -> None:
        with contextlib.suppress(ApiError, RpcError):
            await self.controller.reconcile(KEY)

    @invariant()
    def claim_volume_and_driver_agree_between_changes(self) -> None:
        """While the claim's status has no change in progress, all three have the same class."""
        status = self.api.all(CLAIM)[0]["status"]
        current = status.get("currentVolumeAttributesClassName")
        if "modifyVolumeStatus" not in status and current:
            assert current == self.driver.mutable[HANDLE]["name"]
            assert current == self.api.all(VOLUME)[0]["spec"]["volumeAttributesClassName"]


Modifying.TestCase.settings = settings(max_examples=times(100), stateful_step_count=25, deadline=None)
TestModifying = Modifying.TestCase
