"""
Pools: directories that carry their own identity, so that a disk is never mistaken for another one.

A path whose pool we knew and that is empty now means that its disk is not mounted; nothing is made there.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from csi.errors import BadEnvironment
from csi.host import files
from csi.host.errors import HostError

SCHEMA: Final = 1
FILE: Final = "pool.json"
ROOMS: Final = ("volumes", "trash")
IGNORED: Final = frozenset({"lost+found"})


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``pool.json`` says. `capacity_bytes` None: as much as the disk gives."""

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
        """Where the volumes are."""
        return self.path / "volumes"

    @property
    def trash(self) -> Path:
        """Where deleted volumes wait."""
        return self.path / "trash"


def open_pools(paths: Sequence[Path], *, known_file: Path, init_empty: bool) -> tuple[Pool, ...]:
    """
    Open all pools, or raise BadEnvironment with one sentence.

    With `init_empty`, an empty directory that was never a pool becomes one, named ``local`` or after its directory. One
    that does not exist is not made: it may be the place of a disk that is not mounted.
    """
    known = _read_known(known_file)
    pools: list[Pool] = []
    for path in paths:
        if init_empty and path.is_dir() and not (path / FILE).exists() and str(path.resolve()) not in known:
            make_pool(path, name="local" if not pools else path.name, capacity_bytes=None, known=known)
        pool = open_pool(path, known)
        twin = next((each for each in pools if each.uuid == pool.uuid), None)
        if twin is not None:
            raise BadEnvironment(
                f"{twin.path} and {path} are both pool {pool.uuid}: one is a copy of the other; leave one of them out"
            )
        pools.append(pool)
    known |= {str(pool.path): pool.uuid for pool in pools}
    try:
        files.write_atomic(known_file, msgspec.json.format(msgspec.json.encode(known)) + b"\n")
    except (OSError, HostError) as error:
        raise BadEnvironment(f"{known_file} cannot be written: {error}") from None
    return tuple(pools)


def make_pool(path: Path, *, name: str, capacity_bytes: int | None, known: Mapping[str, str]) -> Pool:
    """Make a pool in an empty directory, which may have to be made itself. Raises BadEnvironment."""
    try:
        path.mkdir(mode=files.PRIVATE, parents=True, exist_ok=True)
        resolved = path.resolve()
        if (resolved / FILE).exists():
            raise BadEnvironment(f"{path} is a pool already")
        if str(resolved) in known:
            raise BadEnvironment(
                f"{path} was pool {known[str(resolved)]} before; mount its disk there, or choose another directory"
            )
        there = sorted(entry.name for entry in resolved.iterdir() if entry.name not in IGNORED)
        if there and there != sorted({*ROOMS} & {*there}):
            raise BadEnvironment(
                f"{path} is not empty ({there[0]} is in it); a pool is made in an empty directory only"
            )
        for room in ROOMS:
            files.make_directory(resolved / room)
        identity = Identity(uuid=str(uuid.uuid4()), name=name, capacity_bytes=capacity_bytes)
        files.write_atomic(resolved / FILE, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
    except (OSError, HostError) as error:
        raise BadEnvironment(f"no pool can be made at {path}: {error}") from None
    return open_pool(resolved, {})


def open_pool(path: Path, known: Mapping[str, str]) -> Pool:
    """Open the pool at a path, whose UUID has to be the `known` one. Raises BadEnvironment."""
    resolved = path.resolve()
    before = known.get(str(resolved))
    try:
        identity = msgspec.json.decode((resolved / FILE).read_bytes(), type=Identity)
        for room in ROOMS:
            files.make_directory(resolved / room)
    except (FileNotFoundError, NotADirectoryError):
        if before:
            raise BadEnvironment(
                f"{path} should be pool {before} but is not: its disk is not mounted; mount it"
            ) from None
        raise BadEnvironment(f"{path} is not a pool; make one with: mooring pool init {path} --name NAME") from None
    except msgspec.MsgspecError as error:
        raise BadEnvironment(f"{resolved / FILE} cannot be read: {error}; restore it from a backup") from None
    except (OSError, HostError) as error:
        raise BadEnvironment(f"pool {path} cannot be used: {error}") from None
    if identity.schema != SCHEMA:
        raise BadEnvironment(f"{resolved / FILE} has schema version {identity.schema}; this driver knows {SCHEMA}")
    if before and before != identity.uuid:
        raise BadEnvironment(
            f"{path} was pool {before} before and is pool {identity.uuid} now: another disk is mounted; mount the "
            f"right one, or give the new one a path of its own"
        )
    return Pool(resolved, identity.uuid, identity.name, identity.capacity_bytes)


def _read_known(known_file: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(known_file.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise BadEnvironment(
            f"{known_file} cannot be read: {error}; remove it once every pool's disk is mounted"
        ) from None
