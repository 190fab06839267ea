"""
Whatever fails in whatever order, a volume never shrinks, and a claim ends with what it asks for.

The real reconcilers of both sides run on an API server and a driver in memory. Calls are refused, cut off before or after
they took effect; writes are lost the same way; controllers start again and forget; the user asks for more, or for less
after a refusal.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from unittest.mock import patch as replaced

import grpc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from csi.v1 import csi_pb2, inventory_pb2
from provisioner.actions import backoff
from provisioner.controllers.expand import Expand
from provisioner.drivers.client import Expanded, RpcError, capability
from provisioner.embedded.kubelet.csi_calls import Mounting
from provisioner.embedded.kubelet.node_expand import NodeExpander
from provisioner.kube.errors import ApiError
from provisioner.model.kinds import CLAIM, STORAGE_CLASS, VOLUME, Json
from provisioner.model.quantity import Quantity
from tests.sweeps import times
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.flaky_api import FlakyApi
from tests.unit.provisioner.controllers.objects import HANDLE, claim, storage_class, volume

KEY = ("default", "www-web-0")
GIB = 1 << 30
MOST = 8 * GIB
FAILURES = st.sampled_from(["", "", "INTERNAL", "OUT_OF_RANGE", "DEADLINE_EXCEEDED", "cut off"])


class _Driver(FakeDriver):
    """A pool that has 8Gi, and a filesystem beside each volume."""

    failure = ""
    filesystem = GIB

    def _fail(self) -> None:
        failure, self.failure = self.failure, ""
        if failure:
            code = grpc.StatusCode["UNAVAILABLE" if failure == "cut off" else failure]
            raise RpcError(code=code, message=failure)

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        if self.failure != "cut off":
            self._fail()
        if required_bytes > MOST:
            raise RpcError(code=grpc.StatusCode.OUT_OF_RANGE, message="the pool has 8Gi")
        answer = await super().expand_volume(handle, required_bytes=required_bytes, capability=capability)
        self._fail()
        return answer

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        self._fail()
        assert required_bytes <= self.live[mounting.handle].capacity_bytes, "a filesystem larger than its volume"
        self.filesystem = max(self.filesystem, required_bytes)


class Growing(RuleBasedStateMachine):
    """One bound claim, its volume, both sides of its growing."""

    def __init__(self) -> None:
        super().__init__()
        asked = claim(phase="Bound", volumeName="pvc-c1")
        asked["status"] |= {"capacity": {"storage": "1Gi"}}
        grows = storage_class() | {"allowVolumeExpansion": True}
        self.api = FlakyApi((CLAIM, asked), (VOLUME, volume()), (STORAGE_CLASS, grows))
        self.driver = _Driver()
        self.driver.live[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", capacity_bytes=GIB)
        self.largest = Quantity.parse("1Gi")
        self.restart()

    @rule()
    def restart(self) -> None:
        """Controllers forget all that is not written."""
        api = self.api
        self.controller = Expand(api, api.caches, api.recorder, drivers=self.driver)
        self.node = NodeExpander(api, api.caches, api.recorder, calls=self.driver)

    @initialize(node_expansion_required=st.booleans(), gib=st.integers(2, 12))
    def begin(self, node_expansion_required: bool, gib: int) -> None:
        """Whether the filesystem has to follow depends on the volume; the first wish is there."""
        self.driver.node_expansion_required = node_expansion_required
        self.ask(gib)

    @rule(gib=st.integers(1, 12))
    def ask(self, gib: int) -> None:
        """The user asks for more, or for less: anything above what the claim has is accepted."""
        asked = self.api.all(CLAIM)[0]
        if gib * GIB > Quantity.parse(asked["status"]["capacity"]["storage"]).ceil_bytes:
            asked["spec"]["resources"]["requests"]["storage"] = f"{gib}Gi"
            self.api.put(CLAIM, asked)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1, 2]), after=st.booleans())
    def controller_acts(self, failure: str, countdown: int, after: bool) -> None:
        """The controller's turn, with what may go wrong in it."""
        self._act(self._reconcile(), failure, countdown, after=after)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1]), after=st.booleans())
    def node_acts(self, failure: str, countdown: int, after: bool) -> None:
        """The node's turn."""
        self._act(self._let_grow(), failure, countdown, after=after)

    @rule()
    def settle(self) -> None:
        """Nothing fails any more: a wish that can be met is met, one that cannot says so."""
        self.restart()
        for _ in range(6):
            self._act(self._reconcile(), "", -1, after=False)
            self._act(self._let_grow(), "", -1, after=False)
        asked = self.api.all(CLAIM)[0]
        has, wants = self._capacity(asked), Quantity.parse(asked["spec"]["resources"]["requests"]["storage"])
        states = asked["status"].get("allocatedResourceStatuses") or {}
        conditions = [each["type"] for each in asked["status"].get("conditions") or []]
        if wants.ceil_bytes <= MOST and states != {"storage": "ControllerResizeInfeasible"}:
            assert (states, conditions) == ({}, [])
            assert has >= wants
            annotations = self.api.all(VOLUME)[0]["metadata"]["annotations"]
            assert "volume.alpha.kubernetes.io/pre-resize-capacity" not in annotations
        elif states:
            assert "ControllerResizeError" in conditions

    def _act(self, work: "Awaitable[Any]", failure: str, countdown: int, *, after: bool) -> None:
        self.driver.failure, self.api.countdown, self.api.after = failure, countdown, after
        with replaced.multiple(backoff, FIRST_SECONDS=0.0, LAST_SECONDS=0.0):
            asyncio.run(_surviving(work))
        self.driver.failure, self.api.countdown = "", -1

    async def _reconcile(self) -> None:
        await self.controller.reconcile(KEY)

    async def _let_grow(self) -> None:
        held = capability(modes=["ReadWriteOnce"], volume_mode="", fs_type="", mount_flags=())
        mounting = Mounting(
            handle=HANDLE, staging=Path("s"), target=Path("t"), capability=held, context={}, read_only=False
        )
        await self.node.let_grow("pvc-c1", mounting)

    def _capacity(self, asked: Json) -> Quantity:
        return Quantity.parse(asked["status"]["capacity"]["storage"])

    @invariant()
    def nothing_shrinks_and_nothing_is_promised_that_is_not_there(self) -> None:
        """The claim has at most what the volume's object says, and that at most what the driver has."""
        has = self._capacity(self.api.all(CLAIM)[0])
        says = Quantity.parse(self.api.all(VOLUME)[0]["spec"]["capacity"]["storage"])
        assert self.largest <= says
        self.largest = says
        assert has.ceil_bytes <= says.ceil_bytes <= self.driver.live[HANDLE].capacity_bytes

    @invariant()
    def a_claim_has_no_more_than_its_filesystem(self) -> None:
        """Where the filesystem has to follow."""
        if self.driver.node_expansion_required:
            assert self._capacity(self.api.all(CLAIM)[0]).ceil_bytes <= self.driver.filesystem


async def _surviving(work: "Awaitable[Any]") -> None:
    with contextlib.suppress(ApiError, RpcError):
        await work


Growing.TestCase.settings = settings(max_examples=times(100), stateful_step_count=30, deadline=None)
TestGrowing = Growing.TestCase
