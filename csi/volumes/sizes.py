"""The size of a volume for the required bytes and the limit of a request."""

from typing import Final

from csi import limits
from csi.errors import InvalidArgument, OutOfRange
from csi.units import exact, readable

BLOCK: Final = 4096
DEFAULT_BYTES: Final = 1 << 30
MAX_VOLUME_BYTES: Final = limits.VOLUME_BYTES


def exact_size(*, required: int, limit: int, minimum: int, size_granularity: int = 1) -> int:
    """
    Return the size: `required` rounded up to whole blocks if the limit allows, otherwise to the size granularity.

    0 means "not set". Raises InvalidArgument for a range that contradicts itself and OutOfRange for one that cannot be
    met. Source: CSI, CapacityRange.
    """
    if required < 0 or limit < 0:
        raise InvalidArgument("required_bytes and limit_bytes must not be negative")
    if limit and required > limit:
        raise InvalidArgument(f"required_bytes, {exact(required)}, is more than limit_bytes, {exact(limit)}")
    if limit and limit < minimum:
        raise OutOfRange(
            f"a volume of at most {readable(limit)} cannot be created; the minimum is {readable(minimum, up=True)}"
        )
    wanted = required or min(DEFAULT_BYTES, limit or DEFAULT_BYTES)
    if required and required < minimum:
        raise OutOfRange(
            f"a volume of {readable(required)} cannot be created; the minimum is {readable(minimum, up=True)}"
        )
    if wanted > MAX_VOLUME_BYTES:
        raise OutOfRange(
            f"a volume of {readable(wanted, up=True)} cannot be created; the maximum is {readable(MAX_VOLUME_BYTES)}"
        )
    for step in (BLOCK, size_granularity):
        rounded = -(-max(wanted, minimum) // step) * step
        if not limit or rounded <= limit:
            return rounded
    raise OutOfRange(
        f"a volume of at most {exact(limit)} cannot be created: its size must be a multiple of {size_granularity}"
    )


def compatible(size: int, *, required: int, limit: int) -> bool:
    """Report whether an existing volume of this size satisfies the range."""
    return size >= required and (not limit or size <= limit)
