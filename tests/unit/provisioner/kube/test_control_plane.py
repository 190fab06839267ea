"""Controllers are woken by what they watch, retried when they fail, and never stopped by one bad object."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import structlog

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
from provisioner.model.kinds import VOLUME, Json, Kind
from tests.unit.provisioner.kube.scripted import Scripted


class Noting:
    """A controller that notes what it is called for, and does what the test says."""

    name = "noting"
    workers = 2

    def __init__(self, behave: Callable[[Key, int], Done | RequeueAfter]) -> None:
        self.calls: list[str] = []
        self._behave = behave

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Fails on objects without a value."""
        return {VOLUME: lambda obj: [("", obj["metadata"]["name"])] if obj["value"] >= 0 else [("", obj["missing"])]}

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Note, then behave."""
        self.calls.append(key[1])
        return self._behave(key, self.calls.count(key[1]))


async def _run(controller: Noting, server: Scripted, *, until: Callable[[], bool]) -> None:
    server.trouble = False
    plane = asyncio.create_task(ControlPlane(cast("Transport", server), [controller], Caches()).run())
    try:
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.005)
    finally:
        plane.cancel()
        await asyncio.wait([plane])


async def test_what_exists_at_the_start_is_reconciled() -> None:
    """A controller that was down has missed events; the list makes up for them."""
    server = Scripted(0)
    server.put("a", 1)
    server.put("b", 1)
    controller = Noting(lambda _key, _times: Done())

    await _run(controller, server, until=lambda: set(controller.calls) == {"a", "b"})


async def test_failures_and_conflicts_are_tried_again_and_terminal_errors_are_not() -> None:
    """Each key goes its own way; one that fails for ever holds up no other."""
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

    controller = Noting(behave)
    wanted = {"conflict": 3, "broken": 3, "refused": 1, "later": 3, "well": 1}

    await _run(controller, server, until=lambda: {name: controller.calls.count(name) for name in wanted} == wanted)


async def test_an_object_that_cannot_be_understood_stops_nobody() -> None:
    """It is logged; the others are reconciled."""
    server = Scripted(0)
    server.put("odd", -1)
    server.put("fine", 1)
    controller = Noting(lambda _key, _times: Done())

    await _run(controller, server, until=lambda: controller.calls == ["fine"])


def test_every_answer_of_the_server_has_one_kind_of_error() -> None:
    """The table is complete for what Kubernetes sends."""
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


async def test_a_key_that_fails_in_the_same_way_is_logged_once() -> None:
    """With its traceback the first time, and again after it went well or failed otherwise; the rest is for debugging."""
    server = Scripted(0)
    server.put("a", 1)
    outcomes = ["1 of 2", "3 of 4", "other", "other", "", "other"]

    def behave(_: Key, times: int) -> Done | RequeueAfter:
        outcome = outcomes[min(times, len(outcomes)) - 1]
        if outcome:
            raise ZeroDivisionError(outcome)
        return RequeueAfter(0.01, "again")

    controller = Noting(behave)
    with structlog.testing.capture_logs() as logged:
        await _run(controller, server, until=lambda: len(controller.calls) > len(outcomes))

    failed = [each for each in logged if each["event"] == "reconcile.failed"]
    told = [each["error"] for each in failed if each["log_level"] == "warning"]
    assert told == ["1 of 2", "other", "other"]
    assert all((each["exc_info"] is not None) == (each["log_level"] == "warning") for each in failed)


async def test_a_refused_key_that_is_woken_is_logged_once() -> None:
    """An object that cannot be read is not reported at each of its changes."""
    server = Scripted(0)
    server.put("a", 1)

    def behave(_: Key, times: int) -> Done | RequeueAfter:
        if times < 5:
            server.put("a", times + 1)
        raise TerminalError("the size is not a quantity")

    controller = Noting(behave)
    with structlog.testing.capture_logs() as logged:
        await _run(controller, server, until=lambda: len(controller.calls) >= 5)

    assert ["warning"] == [each["log_level"] for each in logged if each["event"] == "reconcile.refused"][:1]
    assert 1 == sum(each["log_level"] == "warning" for each in logged if each["event"] == "reconcile.refused")
