"""
Simple quotas of btrfs: a quota group for each volume, with its subvolume and all nested ones as members.

With ordinary quotas a subvolume that a pod creates in its volume belongs to no group of the volume and has no limit;
only with simple quotas (Linux 6.7) does it join the groups of its parent subvolume. So a size counts as enforced only
with simple quotas. The creator of a subvolume can choose the groups that it joins: `assign_nested` corrects that.
Source: Linux, fs/btrfs/qgroup.c and include/uapi/linux/btrfs.h.
"""

import errno
import fcntl
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from csi.host import btrfs
from csi.host.errors import HostError

QUOTA_CTL: Final = 0xC0109428
QGROUP_ASSIGN: Final = 0x40189429
QGROUP_CREATE: Final = 0x4010942A
QGROUP_LIMIT: Final = 0x8030942B

MOST_NESTED: Final = 10_000
"""Number of subvolumes in one volume that are assigned at most."""

_ENABLE_SIMPLE: Final = 4
_SIMPLE: Final = "squota"
_LIMIT_REFERENCED: Final = 1
_LEVEL_BITS: Final = 48
_DESTROY_SECONDS: Final = 10.0
_DESTROY_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Quota:
    """Used bytes and limit of a volume; the kernel updates the count with each commit, every 30 seconds."""

    used: int
    limit: int


def enable(path: Path) -> bool:
    """
    Enable simple quotas on the filesystem of this directory; return whether they are enabled.

    False on any filesystem but btrfs, without root, on a kernel without simple quotas, and where ordinary quotas are
    enabled: the request then succeeds and changes nothing, so the mode is read back.
    """
    try:
        with btrfs.opened(path) as descriptor:
            if _mode(descriptor) == _SIMPLE:
                return True
            fcntl.ioctl(descriptor, QUOTA_CTL, struct.pack("=QQ", _ENABLE_SIMPLE, 0))
            return _mode(descriptor) == _SIMPLE
    except OSError:
        return False


def _mode(anywhere: int) -> str:
    try:
        # unbounded: the kernel's own file, one word
        return (_groups(anywhere) / "mode").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""  # quotas are disabled, or the kernel does not have the file yet


def _groups(anywhere: int) -> Path:
    return Path(f"/sys/fs/btrfs/{btrfs.uuid_of(anywhere)}/qgroups")


def _group_of(number: int) -> int:
    """Return the level 1 quota group of the volume whose subvolume has this number."""
    return 1 << _LEVEL_BITS | number


def create_group(number: int, anywhere: int, *, limit: int) -> None:
    """Create the group of a subvolume, with it as a member, and set its limit; may be repeated. Raises OSError."""
    group = _group_of(number)
    with suppress(FileExistsError):
        fcntl.ioctl(anywhere, QGROUP_CREATE, struct.pack("=QQ", 1, group))
    _assign(number, group, anywhere)
    set_limit(number, anywhere, limit=limit)


def set_limit(number: int, anywhere: int, *, limit: int) -> None:
    """
    Set the limit of a volume in bytes. Raises OSError.

    `anywhere` is an open directory outside of the volume: the change itself uses space of the subvolume that it is
    requested through, and a full one has none. In volumes of an earlier version the subvolume itself has the limit.
    """
    own = (_groups(anywhere) / f"1_{number}").exists()
    group = _group_of(number) if own else number
    fcntl.ioctl(anywhere, QGROUP_LIMIT, struct.pack("=Q5Q", group, _LIMIT_REFERENCED, limit, 0, 0, 0))


def quota(number: int, anywhere: int) -> Quota:
    """Return the used bytes and the limit of a volume. Raises HostError where quotas were disabled since."""
    for name in (f"1_{number}", f"0_{number}"):
        group = _groups(anywhere) / name
        try:
            # unbounded: the kernel's own files, one number each
            used, limit = (int((group / each).read_text(encoding="ascii")) for each in ("referenced", "max_referenced"))
        except FileNotFoundError:
            continue
        return Quota(used, limit)
    raise HostError(f"subvolume {number} has no quota any more: quotas were disabled; its size is not enforced")


def assign_nested(number: int, nested: Iterable[int], anywhere: int) -> None:
    """
    Make the subvolumes in a volume members of its group and of no other. Raises OSError.

    The creator of a subvolume can have it leave the volume's group, or join that of another volume, until this runs.
    """
    group = _group_of(number)
    if not (_groups(anywhere) / f"1_{number}").exists():
        return
    for each in islice(nested, MOST_NESTED):
        groups = {found for found, _ in btrfs.search(anywhere, btrfs.QUOTA_TREE, each, btrfs.QGROUP_RELATION)}
        if group not in groups:
            _assign(each, group, anywhere)
        for other in groups - {group}:
            with suppress(OSError):
                fcntl.ioctl(anywhere, QGROUP_ASSIGN, struct.pack("=QQQ", 0, each, other))


def _assign(number: int, group: int, anywhere: int) -> None:
    with suppress(FileExistsError):
        fcntl.ioctl(anywhere, QGROUP_ASSIGN, struct.pack("=QQQ", 1, number, group))


def remove_groups(numbers: Iterable[int], anywhere: int) -> None:
    """
    Remove the groups of subvolumes that were destroyed. Raises nothing.

    The kernel empties subvolumes in the background, and their groups can be removed only then: this waits for some
    seconds, then leaves empty groups behind, which take no space.
    """
    pending = [group for number in numbers for group in (number, _group_of(number))]
    deadline = time.monotonic() + _DESTROY_SECONDS
    # unbounded: until the deadline of _DESTROY_SECONDS
    while True:
        pending = [group for group in pending if not _removed(group, anywhere)]
        if not pending or time.monotonic() > deadline:
            return
        fcntl.ioctl(anywhere, btrfs.SYNC)  # starts the kernel's cleaner
        time.sleep(_DESTROY_STEP)


def _removed(group: int, anywhere: int) -> bool:
    """Remove the group; return True also where it does not exist or quotas are disabled, False where it is in use."""
    try:
        fcntl.ioctl(anywhere, QGROUP_CREATE, struct.pack("=QQ", 0, group))
    except OSError as error:
        return error.errno != errno.EBUSY
    return True
