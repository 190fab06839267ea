"""A recorder of Events. An Event that is equal to an earlier one increases its count."""

import hashlib
import re
from datetime import UTC, datetime

import structlog

from provisioner import limits
from provisioner.kube.errors import ApiError, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import EVENT, Json

log = structlog.get_logger()

LONGEST = limits.EVENT_CHARACTERS
"""Characters after which a message is truncated, as upstream does."""


_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_SIZE = r"\d+(?:\.\d+)?(?:[kKMGTPE]i?)?B?"
_DURATION = r"(?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+"
_VARYING = re.compile(rf"(?<![\w.-])(?:{_TIME}|{_DURATION}|{_SIZE})(?![\w-])|(?<=/dev/loop)\d+")


def without_amounts(message: str) -> str:
    """
    Return the message with a placeholder for what varies: numbers, sizes, durations and times.

    Only whole words are replaced, such as ``10Gi`` or ``4096``, and the number of a loop device. Two messages that
    differ only in those are one Event.
    """
    return _VARYING.sub("#", message)


class Recorder:
    """Writer of Events as `component`. An Event that cannot be written is logged; no error is raised."""

    def __init__(self, transport: Transport, component: str) -> None:
        self._transport = transport
        self._component = component

    async def record(self, obj: Json, *, type: str, reason: str, message: str) -> None:  # noqa: A002 # Kubernetes' word
        """Record an Event of `obj`: `type` is Normal or Warning, `reason` one word in CamelCase."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        content = "\0".join((self._component, metadata.get("uid", ""), type, reason, without_amounts(message)))
        name = f"{metadata['name'][:200]}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            try:
                found = await self._transport.get(EVENT, name, namespace)
            except NotFound:
                await self._transport.create(EVENT, self._event(obj, name, namespace, now, type, reason, message))
            else:
                change = {"count": found.get("count", 1) + 1, "lastTimestamp": now, "message": message[:LONGEST]}
                await self._transport.patch(EVENT, name, change, namespace=namespace)
        except ApiError as error:
            log.warning("event.lost", reason=reason, object=metadata["name"], error=error.message)

    def _event(self, obj: Json, name: str, namespace: str, now: str, type: str, reason: str, message: str) -> Json:  # noqa: A002
        metadata = obj["metadata"]
        involved = {
            "apiVersion": obj.get("apiVersion", ""),
            "kind": obj.get("kind", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        if metadata.get("namespace"):
            involved["namespace"] = metadata["namespace"]
        return {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": type,
            "reason": reason,
            "message": message[:LONGEST],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
