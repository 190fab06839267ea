"""Lists by pages: a token is the last key of the page before, so pages stay right while things come and go."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from csi.errors import Aborted, InvalidArgument

T = TypeVar("T")

LARGEST_PAGE: Final = 1000
"""Keeps an answer below the 4 MiB that gRPC clients take by default."""


def page(items: Sequence[T], *, key: Callable[[T], str], size: int, token: str) -> tuple[list[T], str]:
    """
    One page of `items`, which are in the order of `key`, and the token of the next one ("" after the last).

    `size` 0 leaves it to us. Raises InvalidArgument for a negative size, Aborted for a token that is not ours.
    """
    if size < 0:
        raise InvalidArgument("max_entries must not be negative")
    after = _decode(token) if token else ""
    rest = [item for item in items if key(item) > after]
    count = min(size or LARGEST_PAGE, LARGEST_PAGE)
    shown = rest[:count]
    return shown, _encode(key(shown[-1])) if len(rest) > count else ""


def _encode(last: str) -> str:
    return base64.urlsafe_b64encode(f"after:{last}".encode()).decode()


def _decode(token: str) -> str:
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    if not text.startswith("after:"):
        raise Aborted("the starting token is not one of this driver's; start from the first page again")
    return text.removeprefix("after:")
