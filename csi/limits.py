"""
The driver's limits in one table: value, unit, what is limited, and what happens when the limit is exceeded.

Each constant is used where its limit is enforced. docs/limits.md shows the table, a test marked ``bound`` exceeds the
limit of each entry, and the lint in hack/bounds refuses a queue, cache, read, server or retry that names no entry.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: `beyond` is what happens when the limit is exceeded."""

    value: int
    unit: str
    on: str
    beyond: str


TABLE: Final[dict[str, Limit]] = {}


def _limit(name: str, value: int, unit: str, *, on: str, beyond: str) -> int:
    """Enter a limit into the table; return its value."""
    TABLE[name] = Limit(value, unit, on, beyond)
    return value


# Requests and responses

REQUEST_BYTES: Final = _limit(
    "request-bytes", 4 << 20, "bytes", on="one request to the driver", beyond="gRPC answers RESOURCE_EXHAUSTED"
)
CALLS: Final = _limit(
    "calls", 2000, "calls", on="calls to one socket at the same time", beyond="gRPC answers RESOURCE_EXHAUSTED"
)
OPERATIONS: Final = _limit(
    "operations", 1000, "volumes", on="volumes with an operation in progress at the same time", beyond="UNAVAILABLE"
)
NAME_BYTES: Final = _limit("name-bytes", 128, "bytes", on="a name or handle in a request", beyond="INVALID_ARGUMENT")
PATH_BYTES: Final = _limit("path-bytes", 4095, "bytes", on="a path in a request", beyond="INVALID_ARGUMENT")
FILE_NAME_BYTES: Final = _limit(
    "file-name-bytes", 255, "bytes", on="one name in a path of a request", beyond="INVALID_ARGUMENT"
)
MAP_BYTES: Final = _limit(
    "map-bytes", 4096, "bytes", on="keys and values of parameters, labels or a context", beyond="INVALID_ARGUMENT"
)
FLAG_BYTES: Final = _limit("flag-bytes", 4096, "bytes", on="mount flags of a capability", beyond="INVALID_ARGUMENT")
CAPABILITIES: Final = _limit(
    "capabilities", 64, "entries", on="volume capabilities in a request", beyond="INVALID_ARGUMENT"
)
TOPOLOGIES: Final = _limit(
    "topologies", 1000, "entries", on="requisite or preferred topologies in a request", beyond="INVALID_ARGUMENT"
)
DURATION_DIGITS: Final = _limit(
    "duration-digits", 12, "digits", on="one number in a duration", beyond="INVALID_ARGUMENT"
)
RETENTION_SECONDS: Final = _limit(
    "retention-seconds",
    100 * 365 * 24 * 3600,
    "seconds",
    on="trashRetention",
    beyond="INVALID_ARGUMENT; a longer one in a manifest of a former version counts as this limit",
)
VOLUME_BYTES: Final = _limit("volume-bytes", 1 << 60, "bytes", on="the size of a volume", beyond="OUT_OF_RANGE")
MESSAGE_BYTES: Final = _limit(
    "message-bytes",
    4 << 10,
    "bytes",
    on="the error message in a response, also in the log",
    beyond="the middle is omitted",
)
PAGE_ENTRIES: Final = _limit(
    "page-entries", 1000, "entries", on="one page of a list of the driver", beyond="the rest is on the next page"
)
PAGE_BYTES: Final = _limit(
    "page-bytes",
    3 << 20,
    "bytes",
    on="one page of a list of the driver",
    beyond="the rest is on the next page; a single entry over the limit is omitted and logged",
)
OMITTED_ENTRY_REPORTS: Final = _limit(
    "omitted-entry-reports",
    1000,
    "entries",
    on="remembered reports about entries omitted from lists",
    beyond="the oldest report is forgotten; its entry is reported again",
)

# Reads and retained state

MANIFEST_BYTES: Final = _limit(
    "manifest-bytes", 16 << 20, "bytes", on="a manifest on a disk", beyond="the volume is reported as damaged"
)
MANIFEST_OWNERS: Final = _limit(
    "manifest-owners", 64, "records", on="former owners in a manifest", beyond="the oldest is dropped"
)
MANIFEST_TEXT_BYTES: Final = _limit(
    "manifest-text-bytes",
    64 << 10,
    "bytes",
    on="names, parameters and labels in a manifest, or those of one former owner",
    beyond="the volume is reported as damaged",
)
NODE_RECORD_BYTES: Final = _limit(
    "node-record-bytes",
    1 << 20,
    "bytes",
    on="a record of where a volume is mounted",
    beyond="the record is ignored, and that is logged",
)
POOL_FILE_BYTES: Final = _limit(
    "pool-file-bytes", 64 << 10, "bytes", on="pool.json", beyond="the pool is not served, and is reported"
)
POOL_NAME_CHARACTERS: Final = _limit(
    "pool-name-characters",
    253,
    "characters",
    on="the name of a pool",
    beyond="the pool is not served, and is reported",
)
KNOWN_POOLS_BYTES: Final = _limit(
    "known-pools-bytes",
    1 << 20,
    "bytes",
    on="known-pools.json and node-records/pools: the pools that the node has served",
    beyond="the driver does not start, with an error; node-records/pools is treated as empty",
)
PEM_BYTES: Final = _limit(
    "pem-bytes",
    1 << 20,
    "bytes",
    on="a key, a certificate or the CA certificates of the controller",
    beyond="the driver does not start; a running one keeps the CA certificates that it has loaded",
)
PROGRAM_CHARACTERS: Final = _limit(
    "program-characters", 4000, "characters", on="the output of a program", beyond="the beginning is omitted"
)
OPEN_DIRECTORIES: Final = _limit(
    "open-directories",
    24,
    "directories",
    on="directories that a walk over a volume keeps open",
    beyond="a deeper directory is read completely, then closed",
)
WALK_NAMES: Final = _limit(
    "walk-names",
    50_000,
    "names",
    on="names from closed directories that a walk keeps in memory",
    beyond="further directories are skipped",
)
REMOVAL_BATCH: Final = _limit(
    "removal-batch", 1000, "names", on="names that a removal reads at a time", beyond="the next are read afterwards"
)
READ_THREADS: Final = _limit(
    "read-threads",
    2,
    "threads",
    on="reads of one pool's disk at the same time",
    beyond="the next read waits",
)
LANE_WAITING: Final = _limit(
    "lane-waiting", 1000, "calls", on="calls that wait for the threads of one pool's disk", beyond="UNAVAILABLE"
)
REGISTRATION_DOUBLINGS: Final = _limit(
    "registration-doublings",
    5,
    "doublings",
    on="doublings of the pause before registering again, after kubelet refused it",
    beyond="the pause stays at 32 times the first one",
)
