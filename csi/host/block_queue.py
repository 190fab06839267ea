"""
Discard limits of a block device, by its queue in sysfs.

With a maximum of 0 a loop device also refuses to punch holes for zeros (BLKZEROOUT), and zeros are written instead. The
value belongs to the device's number, not to the attached file, and newer kernels do not let it be raised from 0: they
accept multiples of the granularity, which is then 0 as well.
Source: Linux, Documentation/ABI/stable/sysfs-block, block/blk-settings.c, and lo_fallocate in drivers/block/loop.c.
"""

from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/sys/block")


def passes_discards(name: str) -> bool:
    """Report whether a device such as ``loop3`` passes discards to the file or disk below it; False where unknown."""
    try:
        return _read(name, "discard_max_bytes") > 0
    except (OSError, ValueError):
        return False


def is_limited(name: str) -> bool:
    """Report whether a device supports discards and has them disabled; False where that is unknown."""
    try:
        return _read(name, "discard_max_hw_bytes") > 0 and _read(name, "discard_max_bytes") == 0
    except (OSError, ValueError):
        return False


def stop_discards(name: str) -> None:
    """Disable discards on a device. Raises OSError where sysfs cannot be written, for example where it is read-only."""
    (_SYSTEM / name / "queue" / "discard_max_bytes").write_text("0", encoding="ascii")


def _read(name: str, attribute: str) -> int:
    # unbounded: the kernel's own file, one number
    return int((_SYSTEM / name / "queue" / attribute).read_text(encoding="ascii"))
