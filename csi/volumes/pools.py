"""
Pools: directories that carry their own identity, so that a disk is never mistaken for another one.

A path whose pool we knew and that is empty now means that its disk is not mounted; nothing is created there.
"""

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from csi import limits
from csi.errors import BadEnvironment
from csi.host import files
from csi.host.errors import HostError
from csi.volumes.sizes import MAX_VOLUME_BYTES
from csi.volumes.workers import read_in_time

SCHEMA: Final = 1
FILE: Final = "pool.json"
DIRECTORIES: Final = ("volumes", "trash")
MAX_BYTES: Final = limits.POOL_FILE_BYTES
"""Size of a ``pool.json`` that is still read."""

MAX_NAME: Final = limits.POOL_NAME_CHARACTERS
"""Characters of a pool's name."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

IGNORED: Final = frozenset({"lost+found"})


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The contents of ``pool.json``. `capacity_bytes` None means the disk's capacity."""

    schema: int = SCHEMA
    uuid: str
    name: str
    capacity_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """An open pool."""

    path: Path
    uuid: str
    name: str
    capacity_bytes: int | None

    @property
    def volumes(self) -> Path:
        """The directory of the volumes."""
        return self.path / "volumes"

    @property
    def trash(self) -> Path:
        """The directory of deleted volumes."""
        return self.path / "trash"


@dataclass(slots=True)
class Opened:
    """The pools that can be served, and why others cannot; `known` are the UUIDs of paths that were pools before."""

    pools: list[Pool] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def require_any(self) -> None:
        """Raise BadEnvironment when no path is a pool or ever was one: no disk is missing, the paths are wrong."""
        before = any(os.path.realpath(path) in self.known for path in self.problems)
        if self.problems and not self.pools and not before:
            raise BadEnvironment(next(iter(self.problems.values())))


def open_pools(paths: Sequence[Path], *, known_file: Path, init_empty: bool) -> Opened:
    """
    Open all pools; one that cannot be opened harms no other. Raises BadEnvironment only where `known_file` is unusable.

    With `init_empty`, an empty directory that was never a pool becomes one, named ``local`` or after its directory. One
    that does not exist is not created: it may be the mount point of a disk that is not mounted.
    """
    opened = Opened(known=read_known(known_file))
    before = dict(opened.known)
    for path in paths:
        name = ("local" if not opened.pools else path.name) if init_empty else ""
        try:
            pool = read_in_time(lambda path=path, name=name: _open_or_make(path, opened.known, name=name))  # type: ignore[misc]
        except TimeoutError:
            opened.problems[path] = f"pool {path}: its disk does not answer; it is served when it does"
            continue
        except (BadEnvironment, OSError, RuntimeError) as error:
            opened.problems[path] = str(error) if isinstance(error, BadEnvironment) else f"pool {path}: {error}"
            continue
        duplicate = next((each for each in opened.pools if each.uuid == pool.uuid), None)
        if duplicate is not None:
            opened.problems[path] = (
                f"{duplicate.path} and {path} are both pool {pool.uuid}: one is a copy of the other; "
                f"leave one of them out"
            )
            continue
        opened.pools.append(pool)
        opened.known[str(pool.path)] = pool.uuid
    if opened.known != before:
        write_known(known_file, opened.known)
    return opened


def _open_or_make(path: Path, known: Mapping[str, str], *, name: str) -> Pool:
    """Open a pool; with a name, make one of an empty directory that never was a pool. Raises BadEnvironment."""
    if name and path.is_dir() and not (path / FILE).exists() and str(path.resolve()) not in known:
        make_pool(path, name=name, capacity_bytes=None, known=known)
    return open_pool(path, known)


def write_known(known_file: Path, known: Mapping[str, str]) -> None:
    """Record the UUID of the pool at each path. Raises BadEnvironment."""
    try:
        files.write_atomic(known_file, msgspec.json.format(msgspec.json.encode(known)) + b"\n")
    except (OSError, HostError) as error:
        raise BadEnvironment(f"{known_file} cannot be written: {error}") from None


def read_identity(path: Path) -> Identity:
    """Read ``pool.json`` of a pool's directory. Raises one of UNREADABLE."""
    return msgspec.json.decode(files.read_small(path / FILE, most=MAX_BYTES), type=Identity)


def make_pool(
    path: Path, *, name: str, capacity_bytes: int | None, known: Mapping[str, str], create: bool = True
) -> Pool:
    """
    Create a pool in an empty directory. Raises BadEnvironment.

    `create`: the directory itself is created where it is missing, and never its parent. An admin has to request that: a
    path that was mistyped, or whose disk is not mounted, would become a pool on another disk.
    """
    if not create and not os.path.lexists(path):
        raise BadEnvironment(
            f"{path} does not exist; mount the disk there, correct the path, or give --create for a directory on the "
            f"disk of {path.absolute().parent}"
        )
    if not path.absolute().parent.is_dir():
        raise BadEnvironment(
            f"{path.absolute().parent} is no directory; mount the disk there, create it, or correct {path}"
        )
    try:
        path.mkdir(mode=files.PRIVATE, exist_ok=True)
        resolved = path.resolve()
        if (resolved / FILE).exists():
            raise BadEnvironment(f"{path} is a pool already")
        if str(resolved) in known:
            raise BadEnvironment(
                f"{path} was pool {known[str(resolved)]} before; mount its disk there, or choose another directory"
            )
        present = sorted(entry.name for entry in resolved.iterdir() if entry.name not in IGNORED)
        if present and present != sorted({*DIRECTORIES} & {*present}):
            raise BadEnvironment(
                f"{path} is not empty ({present[0]} is in it); a pool is created in an empty directory only"
            )
        for directory in DIRECTORIES:
            files.create_directory(resolved / directory)
        identity = Identity(uuid=str(uuid.uuid4()), name=name, capacity_bytes=capacity_bytes)
        files.write_atomic(resolved / FILE, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
    except (OSError, HostError) as error:
        raise BadEnvironment(f"no pool can be created at {path}: {error}") from None
    return open_pool(resolved, {})


def open_pool(path: Path, known: Mapping[str, str]) -> Pool:
    """Open the pool at a path, whose UUID has to be the `known` one. Raises BadEnvironment."""
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise BadEnvironment(f"pool {path} cannot be used: {error}") from None
    before = known.get(str(resolved))
    try:
        identity = read_identity(resolved)
        for directory in DIRECTORIES:
            files.create_directory(resolved / directory)
    except (FileNotFoundError, NotADirectoryError):
        if before:
            raise BadEnvironment(
                f"{path} should be pool {before} but is not: its disk is not mounted; mount it"
            ) from None
        raise BadEnvironment(f"{path} is not a pool; create one with: mooring pool init {path} --name NAME") from None
    except (ValueError, RecursionError) as error:
        raise BadEnvironment(f"{resolved / FILE} cannot be read: {error}; restore it from a backup") from None
    except (OSError, HostError) as error:
        raise BadEnvironment(f"pool {path} cannot be used: {error}") from None
    if not _UUID.fullmatch(identity.uuid) or not 0 < len(identity.name) <= MAX_NAME:
        raise BadEnvironment(f"{resolved / FILE} has no UUID, or an odd name; restore it from a backup")
    if identity.capacity_bytes is not None and not 0 <= identity.capacity_bytes <= MAX_VOLUME_BYTES:
        raise BadEnvironment(
            f"{resolved / FILE} has an impossible capacity_bytes: {identity.capacity_bytes}; restore it"
        )
    if identity.schema != SCHEMA:
        raise BadEnvironment(f"{resolved / FILE} has schema version {identity.schema}; this driver knows {SCHEMA}")
    if before and before != identity.uuid:
        raise BadEnvironment(
            f"{path} was pool {before} before and is pool {identity.uuid} now: another disk is mounted; mount the "
            f"right one, or give the new one a path of its own"
        )
    return Pool(resolved, identity.uuid, identity.name, identity.capacity_bytes)


def read_known(known_file: Path) -> dict[str, str]:
    """Return the UUIDs of the paths that were pools before. Raises BadEnvironment."""
    try:
        return msgspec.json.decode(files.read_small(known_file, most=limits.KNOWN_POOLS_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, HostError, ValueError, RecursionError) as error:
        raise BadEnvironment(
            f"{known_file} cannot be read: {error}; remove it once every pool's disk is mounted"
        ) from None
