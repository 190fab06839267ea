"""
One table of the limits of the control plane on everything that can grow, in the form of csi/limits.py.

Each constant is used where its limit is enforced. docs/limits.md has the table, a test marked ``bound`` exceeds each
limit, and the lint in hack/bounds refuses a queue, cache, read, server or retry that names no entry.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: `on` is what it applies to, `beyond` is what happens when it is exceeded."""

    value: float
    unit: str
    on: str
    beyond: str


TABLE: Final[dict[str, Limit]] = {}


def _limit(name: str, value: int, unit: str, *, on: str, beyond: str) -> int:
    """Add a limit to the table; return its value."""
    TABLE[name] = Limit(value, unit, on, beyond)
    return value


def _seconds(name: str, value: float, *, on: str, beyond: str) -> float:
    """Add the longest pause of a retry to the table; return it in seconds."""
    TABLE[name] = Limit(value, "seconds", on, beyond)
    return value


# Controllers

EVENT_CHARACTERS: Final = _limit(
    "event-characters", 1024, "characters", on="the message of an Event", beyond="the rest is cut off"
)
EVENTS_REMEMBERED: Final = _limit(
    "events-remembered",
    4096,
    "objects",
    on="objects whose last Event a controller caches",
    beyond="the oldest is dropped; the next Event on it is recorded even if it is equal, and the API server counts it",
)
FAILURES_REMEMBERED: Final = _limit(
    "failures-remembered",
    4096,
    "objects",
    on="objects whose last failure a controller caches",
    beyond="the one that failed longest ago is dropped; after its next failure it is retried with the first pause",
)
HISTORY_CLAIMS: Final = _limit(
    "history-claims",
    50,
    "claims",
    on="the annotation mooring.dev/history of a PersistentVolume",
    beyond="the oldest is dropped",
)
RETRY_SECONDS: Final = _seconds(
    "retry-seconds", 30.0, on="the pause before a failed key is retried", beyond="the pause stays at this value"
)
LOOP_PAUSE_SECONDS: Final = _seconds(
    "loop-pause-seconds",
    30.0,
    on="the pause after a failed iteration of a loop",
    beyond="the pause stays at this value",
)
WATCH_PAUSE_SECONDS: Final = _seconds(
    "watch-pause-seconds",
    30.0,
    on="the pause before a failed list or watch of the API server is repeated",
    beyond="the pause stays at this value",
)
WATCH_LINE_BYTES: Final = _limit(
    "watch-line-bytes", 8 << 20, "bytes", on="one line of a watch", beyond="the watch starts again with a list"
)
API_ANSWER_BYTES: Final = _limit(
    "api-answer-bytes",
    256 << 20,
    "bytes",
    on="one response of an API server",
    beyond="the call fails and is retried later",
)
DRIVER_ANSWER_BYTES: Final = _limit(
    "driver-answer-bytes",
    4 << 20,
    "bytes",
    on="one response of a driver",
    beyond="the call fails and is retried later",
)
DRIVER_PAGE_ENTRIES: Final = _limit(
    "driver-page-entries", 500, "entries", on="one page requested from a driver", beyond="the next page is requested"
)
DRIVER_PAGES: Final = _limit(
    "driver-pages",
    1000,
    "pages",
    on="the pages of one list of a driver",
    beyond="the list fails, so that a driver that always returns a next page does not block the controller",
)
REJECTED_SHOWN: Final = _limit(
    "rejected-shown",
    10,
    "volumes",
    on="volumes that do not fit, in `mooring explain`",
    beyond="only the number of the others is shown",
)

# The engine's API

BODY_BYTES: Final = _limit("body-bytes", 3 << 20, "bytes", on="the body of a request", beyond="413")
YAML_NODES: Final = _limit("yaml-nodes", 50_000, "values", on="a YAML body, with aliases expanded", beyond="413")
YAML_DEPTH: Final = _limit("yaml-depth", 200, "levels", on="nesting in YAML", beyond="413; an error of the command")
YAML_NUMBER_CHARACTERS: Final = _limit(
    "yaml-number-characters", 1024, "characters", on="a number in YAML", beyond="413; an error of the command"
)
YAML_FILE_NODES: Final = _limit(
    "yaml-file-nodes",
    2_000_000,
    "values",
    on="a document in a file of `mooring apply`",
    beyond="an error of the command",
)
YAML_FILE_CHARACTERS: Final = _limit(
    "yaml-file-characters",
    64 << 20,
    "characters",
    on="a file or standard input of `mooring apply`",
    beyond="an error of the command",
)
PATCH_OPERATIONS: Final = _limit("patch-operations", 10_000, "operations", on="one JSON patch", beyond="413")
PATCH_COPIED_BYTES: Final = _limit(
    "patch-copied-bytes", 3 << 20, "bytes", on="bytes that `copy` operations of one JSON patch copy", beyond="413"
)
ANNOTATION_BYTES: Final = _limit(
    "annotation-bytes", 256 << 10, "bytes", on="all annotations of an object", beyond="422"
)
MANAGER_BYTES: Final = _limit(
    "manager-bytes", 128, "bytes", on="the name of a field manager", beyond="422; one from a User-Agent is cut off"
)
UPDATERS: Final = _limit(
    "updaters",
    10,
    "managers",
    on="field managers of an object with operation Update",
    beyond="the oldest are merged into one",
)
SILENT_CONNECTIONS: Final = _limit(
    "silent-connections",
    128,
    "connections",
    on="connections that have not sent a request",
    beyond="the oldest is closed",
)
CHANGES: Final = _limit(
    "changes",
    4096,
    "changes",
    on="past changes from which a watch can start",
    beyond="the oldest are dropped; a watch from one of them gets 410",
)
DRIVER_LINES: Final = _limit(
    "driver-lines",
    20,
    "lines",
    on="lines of the driver's log that are retained to explain why it ended",
    beyond="the oldest is dropped",
)
DRIVER_LINE_BYTES: Final = _limit(
    "driver-line-bytes", 64 << 10, "bytes", on="one line of the driver's log", beyond="the rest of the line is omitted"
)
DRIVER_RESTART_SECONDS: Final = _seconds(
    "driver-restart-seconds",
    10.0,
    on="the pause before the driver is started again",
    beyond="the pause stays at this value",
)
