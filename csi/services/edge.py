"""What all RPCs of the driver share: the gRPC code of each error, and one log line for each call."""

import functools
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
import structlog

from csi import errors, limits
from csi.backends.existing import ItemInUseError, ItemNotFoundError, UnsuitableItemError
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
    ItemNotFoundError: grpc.StatusCode.NOT_FOUND,
    UnsuitableItemError: grpc.StatusCode.INVALID_ARGUMENT,
    ItemInUseError: grpc.StatusCode.FAILED_PRECONDITION,
    HostError: grpc.StatusCode.INTERNAL,
}
"""Error → gRPC code. Any other exception is a bug of the driver: INTERNAL, with the details only in the log."""

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
"""Calls that arrive every few seconds and change nothing: they are not logged when they succeed."""


def rpc(
    method: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """
    Wrap a method of a service: map errors to gRPC codes, and log the call.

    Only the volume's handle or name is logged of the request, never its secrets, parameters or contexts.
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
            log.info("rpc.refused", rpc=name, volume=subject, code=code.name, error=message)
            await refuse(context, code, message)
        except Exception as error:
            log.exception("rpc.failed", rpc=name, volume=subject, error=repr(error))
            message = f"{name} failed unexpectedly ({type(error).__name__}); see the driver's log for the details"
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
    Return printable text of a limited length: it cannot control a terminal or forge a log line.

    A longer text is cut in the middle: the end of a message has the next step.
    """
    half = limits.MESSAGE_BYTES // 2 - len("...")
    if len(text) > 2 * limits.MESSAGE_BYTES:  # so that no long text is processed as a whole
        text = f"{text[: limits.MESSAGE_BYTES]}{text[-limits.MESSAGE_BYTES :]}"
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    if sent_bytes(escaped) <= limits.MESSAGE_BYTES:
        return escaped
    return f"{_beginning(escaped, half)}...{_beginning(escaped[::-1], half)[::-1]}"


def sent_bytes(text: str) -> int:
    """Return the bytes of a message on the wire, where each byte that is not ASCII is encoded with three."""
    return sum(1 if each < 128 and each != ord("%") else 3 for each in text.encode())


def _beginning(text: str, most: int) -> str:
    """Return the longest prefix of at most `most` bytes on the wire."""
    sizes = itertools.accumulate(sent_bytes(each) for each in text)
    return text[: sum(1 for _ in itertools.takewhile(most.__ge__, sizes))]


async def refuse(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    """Abort the call with a code and a message."""
    await context.abort(code, message or code.name)
    raise AssertionError("abort does not return")
