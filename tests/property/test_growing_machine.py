"""
With failures in any order, a volume never shrinks, and a claim ends with the requested size.

The reconcilers of controller and node run on an API server and a driver in memory. Calls are refused, or cut off before
or after they take effect; writes are lost the same way; controllers restart without their state; the user requests
more, or less after a refusal.
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
POOL_BYTES = 8 * GIB
FAILURES = st.sampled_from(["", "", "INTERNAL", "OUT_OF_RANGE", "DEADLINE_EXCEEDED", "cut off"])


class _Driver(FakeDriver):
    """A driver with a pool of 8Gi, and one filesystem."""

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
        if required_bytes > POOL_BYTES:
            raise RpcError(code=grpc.StatusCode.OUT_OF_RANGE, message="the pool has 8Gi")
        answer = await super().expand_volume(handle, required_bytes=required_bytes, capability=capability)
        self._fail()
        return answer

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        self._fail()
        assert required_bytes <= self.live[mounting.handle].capacity_bytes, "the filesystem is larger than its volume"
        self.filesystem = max(self.filesystem, required_bytes)


class Expanding(RuleBasedStateMachine):
    """One bound claim, its volume, and the reconcilers of controller and node that expand it."""

    def __init__(self) -> None:
        super().__init__()
        bound = claim(phase="Bound", volumeName="pvc-c1")
        bound["status"] |= {"capacity": {"storage": "1Gi"}}
        expandable = storage_class() | {"allowVolumeExpansion": True}
        self.api = FlakyApi((CLAIM, bound), (VOLUME, volume()), (STORAGE_CLASS, expandable))
        self.driver = _Driver()
        self.driver.live[HANDLE] = inventory_pb2.Manifest(volume_id=HANDLE, csi_name="pvc-c1", capacity_bytes=GIB)
        self.largest = Quantity.parse("1Gi")
        self.restart()

    @rule()
    def restart(self) -> None:
        """Restart the controllers: they lose all state that is not in the API."""
        api = self.api
        self.controller = Expand(api, api.caches, api.recorder, drivers=self.driver)
        self.node = NodeExpander(api, api.caches, api.recorder, calls=self.driver)

    @initialize(node_expansion_required=st.booleans(), gib=st.integers(2, 12))
    def begin(self, node_expansion_required: bool, gib: int) -> None:
        """Choose whether the filesystem has to be expanded, and the first requested size."""
        self.driver.node_expansion_required = node_expansion_required
        self.request(gib)

    @rule(gib=st.integers(1, 12))
    def request(self, gib: int) -> None:
        """Request another size: any size above the claim's capacity is accepted."""
        bound = self.api.all(CLAIM)[0]
        if gib * GIB > Quantity.parse(bound["status"]["capacity"]["storage"]).ceil_bytes:
            bound["spec"]["resources"]["requests"]["storage"] = f"{gib}Gi"
            self.api.put(CLAIM, bound)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1, 2]), after=st.booleans())
    def controller_acts(self, failure: str, countdown: int, after: bool) -> None:
        """Reconcile in the controller, with a possible failure."""
        self._act(self._reconcile(), failure, countdown, after=after)

    @rule(failure=FAILURES, countdown=st.sampled_from([-1, -1, 0, 1]), after=st.booleans())
    def node_acts(self, failure: str, countdown: int, after: bool) -> None:
        """Reconcile on the node, with a possible failure."""
        self._act(self._expand_on_node(), failure, countdown, after=after)

    @rule()
    def settle(self) -> None:
        """Reconcile without failures: a feasible size is reached, an infeasible one is reported."""
        self.restart()
        for _ in range(6):
            self._act(self._reconcile(), "", -1, after=False)
            self._act(self._expand_on_node(), "", -1, after=False)
        bound = self.api.all(CLAIM)[0]
        actual, requested = self._capacity(bound), Quantity.parse(bound["spec"]["resources"]["requests"]["storage"])
        states = bound["status"].get("allocatedResourceStatuses") or {}
        conditions = [each["type"] for each in bound["status"].get("conditions") or []]
        if requested.ceil_bytes <= POOL_BYTES and states != {"storage": "ControllerResizeInfeasible"}:
            assert (states, conditions) == ({}, [])
            assert actual >= requested
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

    async def _expand_on_node(self) -> None:
        access = capability(modes=["ReadWriteOnce"], volume_mode="", fs_type="", mount_flags=())
        mounting = Mounting(
            handle=HANDLE, staging=Path("s"), target=Path("t"), capability=access, context={}, read_only=False
        )
        await self.node.expand("pvc-c1", mounting)

    def _capacity(self, bound: Json) -> Quantity:
        return Quantity.parse(bound["status"]["capacity"]["storage"])

    @invariant()
    def volumes_never_shrink_and_capacities_are_backed_by_the_driver(self) -> None:
        """The claim's capacity is at most the PersistentVolume's, which is at most the driver's."""
        actual = self._capacity(self.api.all(CLAIM)[0])
        recorded = Quantity.parse(self.api.all(VOLUME)[0]["spec"]["capacity"]["storage"])
        assert self.largest <= recorded
        self.largest = recorded
        assert actual.ceil_bytes <= recorded.ceil_bytes <= self.driver.live[HANDLE].capacity_bytes

    @invariant()
    def a_claim_has_no_more_than_its_filesystem(self) -> None:
        """This applies where the filesystem has to be expanded."""
        if self.driver.node_expansion_required:
            assert self._capacity(self.api.all(CLAIM)[0]).ceil_bytes <= self.driver.filesystem


async def _surviving(work: "Awaitable[Any]") -> None:
    with contextlib.suppress(ApiError, RpcError):
        await work


Expanding.TestCase.settings = settings(max_examples=times(100), stateful_step_count=30, deadline=None)
TestExpanding = Expanding.TestCase
