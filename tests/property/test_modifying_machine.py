"""
Whatever fails in whatever order, a claim never says to have attributes that its volume does not have.

The real reconciler runs on an API server and a driver in memory: calls are refused, or cut off before or after they took
effect; writes are lost; classes come and go; the user changes their mind in the middle.
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
    """Knows the attributes of every volume, and refuses the class `wrong`."""

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
    """One bound claim and its volume; a class's parameters carry its name."""

    def __init__(self) -> None:
        super().__init__()
        bound = claim(phase="Bound", volumeName="pvc-c1")
        self.api = FlakyApi((CLAIM, bound), (VOLUME, volume()))
        self.driver = _Driver()
        self.restart()

    @initialize(there=st.sampled_from([NAMES, NAMES, NAMES[:1], ()]), wish=st.sampled_from(NAMES))
    def begin(self, there: tuple[str, ...], wish: str) -> None:
        """Some classes are there, and the first wish."""
        for name in there:
            self.make_class(name)
        self.ask(wish, "")

    @rule(name=st.sampled_from(NAMES))
    def make_class(self, name: str) -> None:
        """An admin makes a class; one that is there does not change."""
        found: Json = {"metadata": {"name": name}, "driverName": "csi.mooring.dev", "parameters": {"name": name}}
        self.api.put(ATTRIBUTES_CLASS, found)

    @rule()
    def restart(self) -> None:
        """The controller forgets all that is not written."""
        self.controller = Modify(self.api, self.api.caches, self.api.recorder, drivers=self.driver)

    @rule(name=st.sampled_from(NAMES), failure=FAILURES)
    def ask(self, name: str, failure: str) -> None:
        """The user names a class, whether the last wish has come true or not; the controller has a look."""
        asked = self.api.all(CLAIM)[0]
        asked["spec"]["volumeAttributesClassName"] = name
        self.api.put(CLAIM, asked)
        self.act(failure, -1, after=False)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1, 2]), after=st.booleans())
    def act(self, failure: str, countdown: int, after: bool) -> None:
        """The controller's turn, with what may go wrong in it."""
        self.driver.failure, self.api.countdown, self.api.after = failure, countdown, after
        with replaced.multiple(backoff, FIRST_SECONDS=0.0, LAST_SECONDS=0.0):
            asyncio.run(self._reconcile())
        self.driver.failure, self.api.countdown = "", -1

    @rule()
    def settle(self) -> None:
        """Nothing fails any more: a wish that can come true has, and another says why not."""
        self.restart()
        for _ in range(3):
            self.act("", -1, after=False)
        asked = self.api.all(CLAIM)[0]
        wish, status = asked["spec"]["volumeAttributesClassName"], asked["status"]
        there = {each["metadata"]["name"] for each in self.api.all(ATTRIBUTES_CLASS)}
        if wish == status.get("currentVolumeAttributesClassName"):
            assert ("modifyVolumeStatus" in status, status.get("conditions") or []) == (False, [])
        elif wish in there:
            assert (wish, "Infeasible") == ("wrong", status["modifyVolumeStatus"]["status"])
        else:
            assert {"status": "Pending", "targetVolumeAttributesClassName": wish} == status["modifyVolumeStatus"]

    async def _reconcile(self) -> None:
        with contextlib.suppress(ApiError, RpcError):
            await self.controller.reconcile(KEY)

    @invariant()
    def at_peace_claim_volume_and_driver_agree(self) -> None:
        """While there is no note of a change, all three say the same class."""
        status = self.api.all(CLAIM)[0]["status"]
        current = status.get("currentVolumeAttributesClassName")
        if "modifyVolumeStatus" not in status and current:
            assert current == self.driver.mutable[HANDLE]["name"]
            assert current == self.api.all(VOLUME)[0]["spec"]["volumeAttributesClassName"]


Modifying.TestCase.settings = settings(max_examples=times(100), stateful_step_count=25, deadline=None)
TestModifying = Modifying.TestCase
