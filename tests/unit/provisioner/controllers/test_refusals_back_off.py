"""A refused request is retried with growing backoff and reported once for each reason, whatever triggers the claim."""

import asyncio
from typing import cast

import grpc
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from provisioner.actions import backoff
from provisioner.actions.backoff import Backoff
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.actions.refusals import CAPACITY_SECONDS, FAILED_SECONDS, INFEASIBLE_SECONDS
from provisioner.controllers.claims import Claims
from provisioner.drivers.client import Created, RpcError
from provisioner.kube.control import RequeueAfter
from provisioner.kube.events import Recorder, without_amounts
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, EVENT, NAMESPACE, NODE, STATEFUL_SET, STORAGE_CLASS, Json
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class

KEY = ("default", "www-web-0")
OTHER = "8f9f6a52-5d53-4d3f-8ac5-70f3ad2c4a22"
Code = grpc.StatusCode


class _Refusing(FakeDriver):
    """A driver that refuses every volume, each time with another amount in the message."""

    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code
        self.calls = 0

    async def create_volume(self, *_: object, **__: object) -> Created:
        self.calls += 1
        raise RpcError(code=self.code, message=f"pool local has {1000 - self.calls}Mi left of {self.calls} bytes")


def _scheduled() -> Json:
    found = claim()
    found["metadata"]["annotations"] = {
        "volume.kubernetes.io/selected-node": "n",
        "volume.kubernetes.io/storage-provisioner": "csi.mooring.dev",
    }
    return found


def _api() -> FakeApi:
    return FakeApi(
        (CLAIM, _scheduled()),
        (NAMESPACE, namespace()),
        (NODE, node(POOL)),
        (STORAGE_CLASS, storage_class()),
        (STATEFUL_SET, stateful_set()),
    )


async def _pause(controller: Claims) -> float:
    result = await controller.reconcile(KEY)
    assert isinstance(result, RequeueAfter)
    return result.seconds


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE])
async def test_a_trigger_does_not_shorten_the_backoff(code: Code) -> None:
    """There is one call, one Event and one line in the log, however often the claim is triggered."""
    api, driver = _api(), _Refusing(code)
    controller = Claims(api, api.caches, api.recorder, drivers=driver)

    with structlog.testing.capture_logs() as logged:
        pauses = [await _pause(controller) for _ in range(20)]

    assert (1, 1) == (driver.calls, len(api.events))
    assert 1 == sum(each["log_level"] == "warning" for each in logged)
    assert all(pause <= pauses[0] for pause in pauses)


async def test_a_changed_request_is_tried_at_once() -> None:
    """A new pool or another request need not wait; the Event is still the same one."""
    api, driver = _api(), _Refusing(Code.INTERNAL)
    controller = Claims(api, api.caches, api.recorder, drivers=driver)
    await _pause(controller)

    api.put(NODE, node(POOL, OTHER))
    await _pause(controller)
    api.put(STORAGE_CLASS, storage_class(pool="local"))
    await _pause(controller)

    assert (3, 1) == (driver.calls, len(api.events))


CHANGED: dict[str, Json] = {
    "mount options": storage_class() | {"mountOptions": ["noatime"]},
    "topologies": storage_class()
    | {"allowedTopologies": [{"matchLabelExpressions": [{"key": "topology.mooring.dev/node", "values": ["n"]}]}]},
    "policy": storage_class(policy="Delete", adopt="Never"),
    "parameters": storage_class(backend="loop", mkfsOptions="-m 0"),
    "expansion": storage_class() | {"allowVolumeExpansion": True},
}


@pytest.mark.parametrize("what", CHANGED)
async def test_a_corrected_class_is_tried_at_once(what: str) -> None:
    """Every field of a class is part of the request."""
    api, driver = _api(), _Refusing(Code.INVALID_ARGUMENT)
    controller = Claims(api, api.caches, api.recorder, drivers=driver)
    await _pause(controller)
    api.put(STORAGE_CLASS, CHANGED[what])
    await _pause(controller)

    assert driver.calls == 2


async def test_not_found_is_retried_soon() -> None:
    """NOT_FOUND is about the observed state, such as a purged trash entry, and not about the request."""
    api, driver = _api(), _Refusing(Code.NOT_FOUND)
    assert await _pause(Claims(api, api.caches, api.recorder, drivers=driver)) == FAILED_SECONDS


async def test_the_backoff_doubles_up_to_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After RESOURCE_EXHAUSTED the longest backoff is shorter."""
    for code, longest in ((Code.INTERNAL, INFEASIBLE_SECONDS), (Code.RESOURCE_EXHAUSTED, CAPACITY_SECONDS)):
        api, driver = _api(), _Refusing(code)
        controller = Claims(api, api.caches, api.recorder, drivers=driver)
        with monkeypatch.context() as patched:
            patched.setattr(Backoff, "left", lambda *_: 0.0)
            pauses = [await _pause(controller) for _ in range(12)]

        assert pauses[0] == FAILED_SECONDS
        assert pauses == sorted(pauses)
        assert pauses[-1] == longest


async def test_the_number_of_remembered_failures_is_limited() -> None:
    """A forgotten object starts with the first backoff."""
    known = Backoff()
    for number in range(backoff.MOST + 10):
        known.failed(str(number), "x", slowly=False)

    assert not known.has_failed("0", "x")
    assert known.has_failed(str(backoff.MOST + 9), "x")


amounts = st.from_regex(r"\A[0-9]{1,12}(Ki|Mi|Gi|Ti|)\Z")


@given(first=amounts, second=amounts)
def test_messages_that_differ_in_amounts_only_are_equal(first: str, second: str) -> None:
    """There is one Event for all amounts; the name of a volume, claim or pod distinguishes two messages."""
    message = "no pool has {} left (largest: {}); volume pvc-12-{name} of www-web-{name} is v1.{name}"

    assert without_amounts(message.format(first, first, name=1)) == without_amounts(message.format(second, 7, name=1))
    assert without_amounts(message.format(first, 1, name=1)) != without_amounts(message.format(first, 1, name=2))


VARYING = (
    "2026-01-01T00:00:00Z", "2026-01-01 10:11:12.123+02:00", "10:11:12", "5s", "1m30s", "1.5h", "250ms",
    "4096", "3.5Gi", "10KB", "12MiB", "95%", "/proc/7/fd", "/dev/loop7",
)  # fmt: skip
NAMES = ("www-web-1", "v1.2", "pvc-7", "n1", "ext4", "node2", "11111111-1111-1111-1111-111111111111")


@pytest.mark.parametrize("text", VARYING)
def test_values_that_differ_at_each_attempt_make_no_new_message(text: str) -> None:
    """Times, durations, sizes, process ids and the number of a loop device."""
    other = text.translate(str.maketrans("1234567", "7654321"))

    assert other != text
    assert without_amounts(f"x {text}: no") == without_amounts(f"x {other}: no")


@pytest.mark.parametrize("text", NAMES)
def test_names_distinguish_messages(text: str) -> None:
    """Digits in names are not amounts."""
    assert without_amounts(f"x {text}: no") == f"x {text}: no"


async def test_an_event_is_recorded_again_before_the_server_deletes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that persists has an Event, which does not count as new."""
    api = FakeApi()
    deduplicator = EventDeduplicator(api.recorder)
    recorded = [await deduplicator.report(claim(), warning=True, reason="R", message="full") for _ in range(3)]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1e9)
    recorded += [await deduplicator.report(claim(), warning=True, reason="R", message="full") for _ in range(3)]

    assert (recorded, len(api.events)) == ([True] + [False] * 5, 2)


async def test_a_counted_event_has_the_latest_amounts() -> None:
    """A repeated Event has the present message."""
    api = FakeApi()
    recorder = Recorder(cast("Transport", api), "test")
    for amount in ("3Mi", "2Mi"):
        await recorder.record(claim(), type="Warning", reason="ProvisioningFailed", message=f"{amount} left")

    assert [(each["message"], each["count"]) for each in api.all(EVENT, "default")] == [("2Mi left", 2)]
