"""The edge of the driver: which gRPC code stands for which error, and one log line for each call."""

import functools
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
import structlog

from csi import errors, limits
from csi.host.errors import (
    AlreadyMountedError,
    DuplicateUuidError,
    HostError,
    ImageLockedError,
    LoopDeviceError,
    MountOptionsError,
    NoSpaceError,
    NotReservableError,
    NotWhileMountedError,
    StillInUseError,
    UnsafePathError,
    UuidChangeError,
)

log = structlog.get_logger()

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]

CODES: Final[dict[type[Exception], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Internal: grpc.StatusCode.INTERNAL,
    NoSpaceError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotReservableError: grpc.StatusCode.FAILED_PRECONDITION,
    LoopDeviceError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotWhileMountedError: grpc.StatusCode.FAILED_PRECONDITION,
    MountOptionsError: grpc.StatusCode.FAILED_PRECONDITION,
    AlreadyMountedError: grpc.StatusCode.FAILED_PRECONDITION,
    StillInUseError: grpc.StatusCode.FAILED_PRECONDITION,
    DuplicateUuidError: grpc.StatusCode.FAILED_PRECONDITION,
    UuidChangeError: grpc.StatusCode.FAILED_PRECONDITION,
    UnsafePathError: grpc.StatusCode.FAILED_PRECONDITION,
    ImageLockedError: grpc.StatusCode.ABORTED,
    HostError: grpc.StatusCode.INTERNAL,
}
"""The one table. Whatever is not in it is a mistake of ours: INTERNAL, with the details in the log alone."""

QUIET: Final = frozenset(
    {
        "Probe",
        "GetPluginInfo",
        "GetPluginCapabilities",
        "ControllerGetCapabilities",
        "NodeGetCapabilities",
        "NodeGetInfo",
        "NodeGetVolumeStats",
        "ListPools",
        "ListManifests",
        "ListTrash",
        "GetUse",
    }
)
"""Calls that come every few seconds and change nothing: not worth a line."""


def rpc(
    method: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """
    Make a method of a service: errors become codes, and the call is logged.

    Of the request only the volume's handle or name is logged, never its secrets, parameters or contexts.
    """
    name = method.__name__

    @functools.wraps(method)
    async def served(self: Any, request: Request, context: Context) -> Response:
        started = time.monotonic()
        subject = legible(getattr(request, "volume_id", "") or getattr(request, "name", ""))
        try:
            response = await method(self, request)
        except (errors.CsiError, HostError) as error:
            code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
            message = legible(str(error))
            log.info("rpc.refused", rpc=name, volume=subject, code=code.name, message=message)
            await refuse(context, code, message)
        except Exception as error:
            log.exception("rpc.broke", rpc=name, volume=subject, error=repr(error))
            message = f"{name} failed unexpectedly ({type(error).__name__}); the driver's log has the details"
            await refuse(context, grpc.StatusCode.INTERNAL, message)
        if name not in QUIET:
            log.info("rpc.served", rpc=name, volume=subject, ms=round((time.monotonic() - started) * 1000, 1))
        return response

    return served


def server_options() -> list[tuple[str, int]]:
    """Return the options of all gRPC servers of the driver."""
    return [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", limits.REQUEST_BYTES)]


def legible(text: str) -> str:
    """
    Return text for a person: nothing in it controls a terminal or forges a log line, and it has a bounded length.

    Of a longer text the beginning and the end are kept: the end of a message says what to do.
    """
    half = limits.MESSAGE_BYTES // 2 - len("...")
    if len(text) > 2 * limits.MESSAGE_BYTES:  # so that no long text is looked at as a whole
        text = f"{text[: limits.MESSAGE_BYTES]}{text[-limits.MESSAGE_BYTES :]}"
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    if sent_bytes(escaped) <= limits.MESSAGE_BYTES:
        return escaped
    return f"{_beginning(escaped, half)}...{_beginning(escaped[::-1], half)[::-1]}"


def sent_bytes(text: str) -> int:
    """Return the bytes of a message on the wire, where one that is not ASCII takes three."""
    return sum(1 if each < 128 and each != ord("%") else 3 for each in text.encode())


def _beginning(text: str, most: int) -> str:
    """The longest beginning that takes no more than so many bytes on the wire."""
    sizes = itertools.accumulate(sent_bytes(each) for each in text)
    return text[: sum(1 for _ in itertools.takewhile(most.__ge__, sizes))]


async def refuse(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    """End the call with a code and a sentence."""
    await context.abort(code, message or code.name)
    raise AssertionError("abort does not return")
