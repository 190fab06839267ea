"""
Simple quotas of btrfs: a group for each volume that holds its subvolume and all that are made in it.

With ordinary quotas a subvolume that a pod makes in its volume belongs to no group of the volume's and is held to
nothing; only simple ones (Linux 6.7) let it join the groups of the subvolume around it. So a size counts as enforced
with them alone. The kernel lets whoever makes a subvolume name the groups that it joins: `hold_nested` corrects that.
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
"""Subvolumes in one volume that are looked at."""

_ENABLE_SIMPLE: Final = 4
_SIMPLE: Final = "squota"
_LIMIT_REFERENCED: Final = 1
_LEVEL_BITS: Final = 48
_DESTROY_SECONDS: Final = 10.0
_DESTROY_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Quota:
    """What a volume occupies and what it may, in bytes; the kernel counts when it commits, every half minute."""

    used: int
    limit: int


def enable(path: Path) -> bool:
    """
    Have the filesystem of this directory use simple quotas; whether it does.

    False on any filesystem but btrfs, for whoever is not root, on a kernel that has none, and where ordinary quotas are
    on: asking for simple ones then succeeds and changes nothing, so the mode is read back.
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
        return ""  # quotas are off, or the kernel is older than the file


def _groups(anywhere: int) -> Path:
    return Path(f"/sys/fs/btrfs/{btrfs.uuid_of(anywhere)}/qgroups")


def _group_of(number: int) -> int:
    """Return the group, of level 1, of the volume whose subvolume has this number."""
    return 1 << _LEVEL_BITS | number


def create_group(number: int, anywhere: int, *, limit: int) -> None:
    """Make the group of a subvolume, with it as a member, and limit it; may be repeated. Raises OSError."""
    group = _group_of(number)
    with suppress(FileExistsError):
        fcntl.ioctl(anywhere, QGROUP_CREATE, struct.pack("=QQ", 1, group))
    _assign(number, group, anywhere)
    set_limit(number, anywhere, limit=limit)


def set_limit(number: int, anywhere: int, *, limit: int) -> None:
    """
    Set how many bytes a volume may hold from now on. Raises OSError.

    `anywhere` is outside of the volume: the change itself takes room of the subvolume that it is asked for in, and a
    full one has none. Where a former version made the volume, its subvolume has the limit itself.
    """
    own = (_groups(anywhere) / f"1_{number}").exists()
    group = _group_of(number) if own else number
    fcntl.ioctl(anywhere, QGROUP_LIMIT, struct.pack("=Q5Q", group, _LIMIT_REFERENCED, limit, 0, 0, 0))


def quota(number: int, anywhere: int) -> Quota:
    """Return how full a volume is. Raises HostError where quotas were switched off since."""
    for name in (f"1_{number}", f"0_{number}"):
        group = _groups(anywhere) / name
        try:
            # unbounded: the kernel's own files, one number each
            used, limit = (int((group / each).read_text(encoding="ascii")) for each in ("referenced", "max_referenced"))
        except FileNotFoundError:
            continue
        return Quota(used, limit)
    raise HostError(f"subvolume {number} has no quota any more: somebody switched quotas off; nothing limits it")


def assign_nested(number: int, nested: Iterable[int], anywhere: int) -> None:
    """
    Make the subvolumes in a volume members of its group and of no other. Raises OSError.

    Whoever makes a subvolume may leave its group, or fill that of somebody else; this bounds for how long.
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

    The kernel empties subvolumes in the background, and their groups can go only then: this waits for some seconds and
    otherwise leaves empty groups behind, which take no space.
    """
    pending = [group for number in numbers for group in (number, _group_of(number))]
    deadline = time.monotonic() + _DESTROY_SECONDS
    # unbounded: until the deadline of _DESTROY_SECONDS
    while True:
        pending = [group for group in pending if not _removed(group, anywhere)]
        if not pending or time.monotonic() > deadline:
            return
        fcntl.ioctl(anywhere, btrfs.SYNC)  # wakes the cleaner
        time.sleep(_DESTROY_STEP)


def _removed(group: int, anywhere: int) -> bool:
    """Whether nothing is left to do: the group is gone, or quotas are off."""
    try:
        fcntl.ioctl(anywhere, QGROUP_CREATE, struct.pack("=QQ", 0, group))
    except OSError as error:
        return error.errno != errno.EBUSY
    return True
