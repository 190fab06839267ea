"""
Whether a block device passes discards on, by its queue in sysfs.

With a maximum of 0 a loop device also refuses to punch holes for zeros (BLKZEROOUT), and zeros are written instead. The
value belongs to the device's number, not to what is attached to it, and newer kernels let nobody raise it from 0: they
take multiples of the granularity, which is 0 as well then.
Source: Linux, Documentation/ABI/stable/sysfs-block, block/blk-settings.c, and lo_fallocate in drivers/block/loop.c.
"""

from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/sys/block")


def passes_discards(name: str) -> bool:
    """Whether discards on a device such as ``loop3`` reach what is below it; False where that cannot be known."""
    try:
        return _read(name, "discard_max_bytes") > 0
    except (OSError, ValueError):
        return False


def is_limited(name: str) -> bool:
    """Whether a device could pass discards on and was told not to; False where that cannot be known."""
    try:
        return _read(name, "discard_max_hw_bytes") > 0 and _read(name, "discard_max_bytes") == 0
    except (OSError, ValueError):
        return False


def stop_discards(name: str) -> None:
    """Let a device pass no discards on. Raises OSError where sysfs cannot be written, as where it is read-only."""
    (_SYSTEM / name / "queue" / "discard_max_bytes").write_text("0", encoding="ascii")


def _read(name: str, attribute: str) -> int:
    # unbounded: the kernel's own file, one number
    return int((_SYSTEM / name / "queue" / attribute).read_text(encoding="ascii"))
