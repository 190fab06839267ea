"""Report a change of a volume that its driver refused: an Event, and a log line for a new error."""

import logging

import structlog

from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.drivers.client import RpcError
from provisioner.model.kinds import Json

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.5
"""The pause until a call to an unavailable driver is repeated."""


async def report_failure(
    events: EventDeduplicator, found: Json, error: RpcError, *, reason: str, message: str, log_event: str
) -> None:
    """Record an Event for the claim; log the error once, and at debug level as long as it is the same."""
    is_new = await events.report(found, warning=True, reason=reason, message=message)
    level = logging.WARNING if is_new else logging.DEBUG
    log.log(level, log_event, volume=found["spec"]["volumeName"], code=error.code.name, error=error.message)
