"""Validated requests, independent of the protocol: equal requests are the same operation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from csi import limits
from csi.errors import InvalidArgument

SINGLE_WRITER: Final = "SINGLE_NODE_SINGLE_WRITER"
MODES: Final = ("SINGLE_NODE_WRITER", "SINGLE_NODE_READER_ONLY", SINGLE_WRITER, "SINGLE_NODE_MULTI_WRITER")
"""Access modes that a volume on one node's disk can serve."""

HOLDER_PREFIX: Final = "mooring.dev/"
IGNORED_PREFIX: Final = "csi.storage.k8s.io/"
FS_TYPE: Final = "csi.storage.k8s.io/fstype"
MAX_RETENTION: Final = limits.RETENTION_SECONDS
"""Seconds that a volume stays in the trash at the most: longer ones lead past the times that protobuf knows."""

RETENTION: Final = "trashRetention"

QUOTED: Final = 60
"""Characters of a wrong value that a message shows."""

DIGITS: Final = limits.DURATION_DIGITS
"""Digits of one number in a duration that are still read; a number with more is too large in any unit."""

_CHOICES: Final = {"backend": ("directory", "loop"), "provisioning": ("thin", "thick")}
_FREE: Final = frozenset({"pool", "trashRetention", "mkfsOptions", FS_TYPE})
_LOOP_ONLY: Final = ("provisioning", "mkfsOptions", FS_TYPE)
_MUTABLE: Final = frozenset({"trashRetention"})
_OTHERS: Final = frozenset({"adopt", "onNodeLoss", "onNamespaceRecreated"})
"""The parameters that only the controller uses."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One way of using a volume."""

    access_type: str
    mode: str
    fs_type: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """CreateVolume's parameters. `compared` are those that make two volumes differ; `labels` are its owner."""

    backend: str
    pool: str
    fs_type: str
    provisioning: str
    trash_retention: int
    mkfs_options: tuple[str, ...]
    compared: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "Parameters":
        """Check every key and value. Raises InvalidArgument that lists the valid ones."""
        labels, compared = {}, {}
        for key, value in parameters.items():
            if key.startswith(HOLDER_PREFIX):
                labels[key] = value
            elif key in _CHOICES and value not in _CHOICES[key]:
                raise InvalidArgument(f"parameter {key}: {_quoted(value)} is not one of {', '.join(_CHOICES[key])}")
            elif key in _CHOICES or key in _FREE:
                compared[key] = value
            elif key not in _OTHERS and not key.startswith(IGNORED_PREFIX):
                valid = sorted({*_CHOICES, *_FREE, *_OTHERS})
                raise InvalidArgument(f"parameter {key} is unknown; valid are {', '.join(valid)}")
        backend = compared.get("backend", "directory")
        if backend != "loop" and (wrong := [key for key in _LOOP_ONLY if compared.get(key)]):
            value = _quoted(compared[wrong[0]])
            raise InvalidArgument(
                f"parameter {wrong[0]}: {value} is possible for backend loop only, and the backend is {backend}; "
                f"leave it out, or set backend: loop"
            )
        return cls(
            backend=backend,
            pool=compared.get("pool", ""),
            fs_type=compared.get(FS_TYPE, ""),
            provisioning=compared.get("provisioning", "thin"),
            trash_retention=seconds(compared.get("trashRetention", "24h")),
            mkfs_options=tuple(compared.get("mkfsOptions", "").split()),
            compared=tuple(sorted(compared.items())),
            labels=tuple(sorted(labels.items())),
        )


@dataclass(frozen=True, slots=True)
class Creation:
    """One CreateVolume. `nodes` are the allowed values of the topology key; None means any, empty means none."""

    name: str
    required: int
    limit: int
    capabilities: tuple[Capability, ...]
    parameters: Parameters
    nodes: tuple[str, ...] | None = None
    mutable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Expanding:
    """One ControllerExpandVolume; sizes in bytes, 0 is "not set"."""

    handle: str
    required: int
    limit: int


@dataclass(frozen=True, slots=True)
class Staging:
    """One NodeStageVolume."""

    handle: str
    staging: str
    capability: Capability


@dataclass(frozen=True, slots=True)
class Publishing:
    """One NodePublishVolume."""

    handle: str
    staging: str
    target: str
    capability: Capability
    read_only: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """One NodeUnstageVolume or NodeUnpublishVolume: `verb` on a volume at a path."""

    verb: str
    handle: str
    path: str = ""


def mutable_parameters(given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the mutable parameters. Raises InvalidArgument, after which none is changed."""
    for key, value in given.items():
        if key not in _MUTABLE:
            raise InvalidArgument(f"mutable parameter {key} is unknown; valid are {', '.join(sorted(_MUTABLE))}")
        seconds(value)
    return tuple(sorted(given.items()))


def _quoted(value: str) -> str:
    """Return a value for a message."""
    return repr(value if len(value) <= QUOTED else f"{value[:QUOTED]}…")


def seconds(duration: str) -> int:
    """Return the seconds of a trash retention such as ``24h``, ``1h30m`` or ``0s``. Raises InvalidArgument."""
    rest, total = duration, 0
    for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
        number, found, after = rest.partition(unit)
        if found and number.isascii() and number.isdecimal():
            amount = int(number) if len(number) <= DIGITS else MAX_RETENTION + 1
            total, rest = total + amount * factor, after
    if rest or not duration:
        raise InvalidArgument(
            f"parameter {RETENTION}: {_quoted(duration)} is not a duration; write for example 30m, 24h or 0s"
        )
    if total > MAX_RETENTION:
        most = MAX_RETENTION // 3600
        raise InvalidArgument(f"parameter {RETENTION}: {_quoted(duration)} is too long; the most is {most}h")
    return total
