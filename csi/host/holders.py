"""Processes that use a block device, for error messages."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def process_using(device: Path) -> str:
    """
    Return how a process uses the device: it has it open, or mounted in its mount namespace; "" where none is found.

    In a container only the container's processes are visible. A mount namespace that was created while the device was
    mounted has a copy of the mount until its last process ends, also after the original was unmounted.
    """
    own, seen = _namespace(Path("/proc/self")), set[str]()
    for process in _processes():
        if process.name != str(os.getpid()) and str(device) in _open_files(process):
            return f"process {_named(process)} has it open"
        namespace = _namespace(process)
        if namespace in {own, ""} or namespace in seen:
            continue
        seen.add(namespace)
        if f" {device} " in _mounts(process):
            return f"it is mounted in the mount namespace of process {_named(process)}"
    return ""


def _processes() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (each for each in Path("/proc").iterdir() if each.name.isdecimal())


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns" / "mnt").readlink())
    except OSError:
        return ""


def _open_files(process: Path) -> set[str]:
    found = set[str]()
    with contextlib.suppress(OSError):
        for each in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(each.readlink()))
    return found


def _mounts(process: Path) -> str:
    try:
        # unbounded: the kernel's own table, which fs.mount-max bounds
        return (process / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _named(process: Path) -> str:
    try:
        # unbounded: the kernel's own file, 16 bytes
        name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = "?"
    return f"{process.name} ({name})"
