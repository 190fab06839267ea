"""Validation of requests, before anything else, as CSI requires: missing fields first, existence later."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from csi import limits
from csi.errors import InvalidArgument
from csi.v1 import csi_pb2
from csi.volumes import mount_options
from csi.volumes.requests import Capability

TEXT_LIMIT: Final = limits.NAME_BYTES
PATH_LIMIT: Final = limits.PATH_BYTES
MAP_LIMIT: Final = limits.MAP_BYTES
FLAGS_LIMIT: Final = limits.FLAG_BYTES
NAME_LIMIT: Final = limits.FILE_NAME_BYTES
_MODES: Final = {number: name for name, number in csi_pb2.VolumeCapability.AccessMode.Mode.items()}
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def text(value: str, field: str) -> str:
    """Return a required identifier or name. Raises InvalidArgument: missing, over 128 bytes, or control characters."""
    if not value:
        raise InvalidArgument(f"{field} is missing")
    if len(value.encode()) > TEXT_LIMIT:
        raise InvalidArgument(f"{field} has more than {TEXT_LIMIT} bytes")
    if _CONTROL.search(value):
        raise InvalidArgument(f"{field} has a control character")
    return value


def path(value: str, field: str) -> str:
    """Return a required absolute path, normalized. Raises InvalidArgument, also for a path with a .. in it."""
    if not value:
        raise InvalidArgument(f"{field} is missing")
    if len(value.encode()) > PATH_LIMIT:
        raise InvalidArgument(f"{field} has more than {PATH_LIMIT} bytes")
    if not value.startswith("/") or "\0" in value or ".." in value.split("/"):
        raise InvalidArgument(f"{field} must be an absolute path without ..")
    if any(len(name.encode()) > NAME_LIMIT for name in value.split("/")):
        raise InvalidArgument(f"{field} has a name of more than {NAME_LIMIT} bytes")
    return "/" + "/".join(name for name in value.split("/") if name not in {"", "."})


def mapping(value: Mapping[str, str], field: str) -> dict[str, str]:
    """Return a map. Raises InvalidArgument if it has more than 4 KiB in all."""
    found = dict(value)
    if sum(len(key.encode()) + len(each.encode()) for key, each in found.items()) > MAP_LIMIT:
        raise InvalidArgument(f"{field} has more than {MAP_LIMIT} bytes in all")
    return found


def capability(value: csi_pb2.VolumeCapability, *, present: bool = True) -> Capability:
    """Return one required capability. Raises InvalidArgument for a missing or unknown access type or access mode."""
    access_type = value.WhichOneof("access_type")
    if not present or access_type is None:
        raise InvalidArgument("volume_capability is missing, or has no access type")
    mode = _MODES.get(value.access_mode.mode)
    if mode is None:
        known = ", ".join(name for name in _MODES.values() if name != "UNKNOWN")
        raise InvalidArgument(f"access mode {value.access_mode.mode} is unknown; known are {known}")
    if mode == "UNKNOWN":
        raise InvalidArgument("volume_capability has no access mode")
    if sum(len(flag.encode()) for flag in value.mount.mount_flags) > FLAGS_LIMIT:
        raise InvalidArgument(f"mount_flags have more than {FLAGS_LIMIT} bytes in all")
    flags = mount_options.effective(value.mount.mount_flags)
    if value.mount.volume_mount_group:
        raise InvalidArgument("volume_mount_group is not supported: kubelet sets the pod's fsGroup on files itself")
    return Capability(access_type, mode, value.mount.fs_type, flags)


def capabilities(values: Sequence[csi_pb2.VolumeCapability]) -> tuple[Capability, ...]:
    """Return the capabilities. Raises InvalidArgument if there are none or too many."""
    few(values, limits.CAPABILITIES, "volume_capabilities")
    found = tuple(capability(value) for value in values)
    if not found:
        raise InvalidArgument("volume_capabilities are missing")
    return found


def few(values: Sequence[object], most: int, field: str) -> None:
    """Raise InvalidArgument for a list of more than `most` entries."""
    if len(values) > most:
        raise InvalidArgument(f"{field} has {len(values)} entries; the most is {most}")


def size(value: int, field: str) -> int:
    """Return a size in bytes, 0 where it is not set. Raises InvalidArgument for a negative one."""
    if value < 0:
        raise InvalidArgument(f"{field} must not be negative")
    return value
