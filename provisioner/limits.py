"""
The limits of the control plane on everything that grows, in one table, in the form of csi/limits.py.

Each constant is used where the limit is kept. docs/limits.md shows the table, a test marked ``bound`` drives each entry
over its limit, and the lint in hack/bounds refuses a queue, cache, read, server or retry that names no entry.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: `beyond` is what happens to what is over it."""

    value: float
    unit: str
    on: str
    beyond: str


TABLE: Final[dict[str, Limit]] = {}


def _limit(name: str, value: int, unit: str, *, on: str, beyond: str) -> int:
    """Enter a limit into the table; return its value."""
    TABLE[name] = Limit(value, unit, on, beyond)
    return value


def _seconds(name: str, value: float, *, on: str, beyond: str) -> float:
    """Enter a longest pause into the table; return it."""
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
    on="objects whose last Event a controller remembers",
    beyond="the oldest is forgotten; the next Event on it is recorded again, and counted by the API",
)
FAILURES_REMEMBERED: Final = _limit(
    "failures-remembered",
    4096,
    "objects",
    on="objects whose last failure a controller remembers",
    beyond="the one that failed longest ago is forgotten, and tried again with the first pause",
)
HISTORY_CLAIMS: Final = _limit(
    "history-claims",
    50,
    "claims",
    on="the annotation mooring.dev/history of a PersistentVolume",
    beyond="the oldest is dropped",
)
RETRY_SECONDS: Final = _seconds(
    "retry-seconds", 30.0, on="the pause before a key that failed is tried again", beyond="the pause stays so long"
)
LOOP_PAUSE_SECONDS: Final = _seconds(
    "loop-pause-seconds", 30.0, on="the pause after a failed turn of a loop", beyond="the pause stays so long"
)
WATCH_PAUSE_SECONDS: Final = _seconds(
    "watch-pause-seconds",
    30.0,
    on="the pause before a list or watch of the API server that failed is repeated",
    beyond="the pause stays so long",
)
WATCH_LINE_BYTES: Final = _limit(
    "watch-line-bytes", 8 << 20, "bytes", on="one line of a watch", beyond="the watch begins again with a list"
)
API_ANSWER_BYTES: Final = _limit(
    "api-answer-bytes",
    256 << 20,
    "bytes",
    on="one answer of an API server",
    beyond="the call fails and is tried again later",
)
DRIVER_ANSWER_BYTES: Final = _limit(
    "driver-answer-bytes",
    4 << 20,
    "bytes",
    on="one answer of a driver",
    beyond="the call fails and is tried again later",
)
DRIVER_PAGE_ENTRIES: Final = _limit(
    "driver-page-entries", 500, "entries", on="one page that is asked of a driver", beyond="the next page is asked for"
)
DRIVER_PAGES: Final = _limit(
    "driver-pages",
    1000,
    "pages",
    on="the pages of one list of a driver",
    beyond="the list fails: a driver that never comes to an end is not believed",
)
REJECTED_SHOWN: Final = _limit(
    "rejected-shown", 10, "volumes", on="volumes that do not fit, in `mooring explain`", beyond="the rest is counted"
)

# The engine's API

BODY_BYTES: Final = _limit("body-bytes", 3 << 20, "bytes", on="the body of a request", beyond="413")
YAML_NODES: Final = _limit(
    "yaml-nodes", 50_000, "values", on="a YAML body, aliases counted as what they stand for", beyond="413"
)
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
    "patch-copied-bytes", 3 << 20, "bytes", on="what `copy` of one JSON patch copies", beyond="413"
)
ANNOTATION_BYTES: Final = _limit(
    "annotation-bytes", 256 << 10, "bytes", on="all annotations of an object", beyond="422"
)
MANAGER_BYTES: Final = _limit(
    "manager-bytes", 128, "bytes", on="the name of a field manager", beyond="422; one from a User-Agent is cut off"
)
UPDATERS: Final = _limit(
    "updaters", 10, "managers", on="managers of an object that update", beyond="the oldest are put together"
)
SILENT_CONNECTIONS: Final = _limit(
    "silent-connections", 128, "connections", on="connections without a request yet", beyond="the oldest is closed"
)
CHANGES: Final = _limit(
    "changes", 4096, "changes", on="changes that a watch can look back", beyond="the oldest are dropped; 410"
)
DRIVER_LINES: Final = _limit(
    "driver-lines",
    20,
    "lines",
    on="lines of the driver's log that are kept to explain its end",
    beyond="the oldest is dropped",
)
DRIVER_LINE_BYTES: Final = _limit(
    "driver-line-bytes", 64 << 10, "bytes", on="one line of the driver's log", beyond="the rest of the line is left out"
)
DRIVER_RESTART_SECONDS: Final = _seconds(
    "driver-restart-seconds", 10.0, on="the pause before the driver is started again", beyond="the pause stays so long"
)
