"""Controllers reconcile the objects that they watch, retry failures, and are never stopped by one invalid object."""

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import grpc
import pytest
import structlog

from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import ControlPlane, Done, Key, RequeueAfter, TerminalError
from provisioner.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unavailable,
    error_of,
)
from provisioner.kube.transport import Transport
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import VOLUME, Json, Kind
from tests.unit.provisioner.kube.scripted import Scripted


class RecordingController:
    """A controller that records the keys it reconciles, with a behaviour that the test defines."""

    name = "recording"
    workers = 2

    def __init__(self, behave: Callable[[Key, int], Done | RequeueAfter]) -> None:
        self.calls: list[str] = []
        self._behave = behave

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Raise KeyError for objects with a negative value."""
        return {VOLUME: lambda obj: [("", obj["metadata"]["name"])] if obj["value"] >= 0 else [("", obj["missing"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Record the key, then call the test's function."""
        self.calls.append(key[1])
        return self._behave(key, self.calls.count(key[1]))


async def _run(controller: RecordingController, server: Scripted, *, until: Callable[[], bool]) -> None:
    server.faulty = False
    plane = asyncio.create_task(ControlPlane(cast("Transport", server), [controller], Caches()).run())
    try:
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.005)
    finally:
        plane.cancel()
        await asyncio.wait([plane])


async def test_objects_that_exist_at_start_are_reconciled() -> None:
    """A controller that was down has missed events; the initial list replaces them."""
    server = Scripted(0)
    server.put("a", 1)
    server.put("b", 1)
    controller = RecordingController(lambda _key, _times: Done())

    await _run(controller, server, until=lambda: set(controller.calls) == {"a", "b"})


async def test_failures_and_conflicts_are_retried_and_terminal_errors_are_not() -> None:
    """Each key is retried on its own; one that always fails does not delay the others."""
    server = Scripted(0)
    for name in ("conflict", "broken", "refused", "later", "well"):
        server.put(name, 1)

    def behave(key: Key, times: int) -> Done | RequeueAfter:
        if key[1] == "conflict" and times < 3:
            raise Conflict(409, "Conflict", "changed")
        if key[1] == "broken" and times < 3:
            raise ZeroDivisionError
        if key[1] == "refused":
            raise TerminalError("never")
        return RequeueAfter(0.01, "again") if key[1] == "later" and times < 3 else Done()

    controller = RecordingController(behave)
    expected = {"conflict": 3, "broken": 3, "refused": 1, "later": 3, "well": 1}

    await _run(controller, server, until=lambda: {name: controller.calls.count(name) for name in expected} == expected)


async def test_an_unreadable_object_does_not_stop_the_others() -> None:
    """The object is logged; the others are reconciled."""
    server = Scripted(0)
    server.put("odd", -1)
    server.put("fine", 1)
    controller = RecordingController(lambda _key, _times: Done())

    await _run(controller, server, until=lambda: controller.calls == ["fine"])


def test_every_http_status_maps_to_one_error_class() -> None:
    """The table covers every status that Kubernetes sends."""
    rows: list[tuple[int, str, type[ApiError]]] = [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Unavailable),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (418, "", ApiError),
    ]
    for status, reason, kind in rows:
        assert type(error_of(status, reason=reason, message="m")) is kind


async def test_a_repeated_error_of_a_key_is_logged_once() -> None:
    """A new error, or one after a success, is a warning with a traceback; repeats are debug entries."""
    server = Scripted(0)
    server.put("a", 1)
    outcomes = ["1 of 2", "3 of 4", "other", "other", "", "other"]

    def behave(_: Key, times: int) -> Done | RequeueAfter:
        outcome = outcomes[min(times, len(outcomes)) - 1]
        if outcome:
            raise ZeroDivisionError(outcome)
        return RequeueAfter(0.01, "again")

    controller = RecordingController(behave)
    with structlog.testing.capture_logs() as logged:
        await _run(controller, server, until=lambda: len(controller.calls) > len(outcomes))

    failed = [each for each in logged if each["event"] == "reconcile.failed"]
    warned = [each["error"] for each in failed if each["log_level"] == "warning"]
    assert warned == ["1 of 2", "other", "other"]
    assert all((each["exc_info"] is not None) == (each["log_level"] == "warning") for each in failed)


EXPECTED: list[Exception] = [
    NotFound(404, "NotFound", "the volume is gone"),
    Unavailable(0, "", "no server answers"),
    InvalidObjectError(kind="pod", obj={}, field="spec.volumes", problem="is no list"),
    RpcError(code=grpc.StatusCode.INTERNAL, message="the kernel refuses the mount options"),
    DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="the driver is being restarted"),
    OSError(errno.ENOSPC, "No space left on device", "/var/lib/mooring"),
]


@pytest.mark.parametrize("error", EXPECTED, ids=repr)
async def test_the_log_has_no_traceback_of_a_failure_outside_of_the_program(error: Exception) -> None:
    """A server, a driver or the machine refuses something: the message suffices."""
    server = Scripted(0)
    server.put("a", 1)

    def behave(_: Key, times: int) -> Done:
        if times == 1:
            raise error
        return Done()

    controller = RecordingController(behave)
    with structlog.testing.capture_logs() as logged:
        await _run(controller, server, until=lambda: len(controller.calls) > 1)

    (failed,) = [each for each in logged if each["event"] == "reconcile.failed"]
    assert (failed["error"], failed["exc_info"]) == (str(error), None)


async def test_a_refused_key_that_is_enqueued_again_is_logged_once() -> None:
    """An object that cannot be read is not reported again at each of its changes."""
    server = Scripted(0)
    server.put("a", 1)

    def behave(_: Key, times: int) -> Done | RequeueAfter:
        if times < 5:
            server.put("a", times + 1)
        raise TerminalError("the size is not a quantity")

    controller = RecordingController(behave)
    with structlog.testing.capture_logs() as logged:
        await _run(controller, server, until=lambda: len(controller.calls) >= 5)

    assert ["warning"] == [each["log_level"] for each in logged if each["event"] == "reconcile.refused"][:1]
    assert 1 == sum(each["log_level"] == "warning" for each in logged if each["event"] == "reconcile.refused")
