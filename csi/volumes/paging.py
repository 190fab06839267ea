"""Paged lists: a token is the last key of the page before, so that pages stay correct while entries change."""

import base64
import binascii
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from csi import limits
from csi.errors import Aborted, InvalidArgument

MOST_REPORTED: Final = limits.LEFT_OUT_REPORTS
"""Entries left out of which it is remembered that they were reported."""

log = structlog.get_logger()

_left_out: deque[str] = deque(maxlen=MOST_REPORTED)


class Message(Protocol):
    """The protobuf message of an entry."""

    def ByteSize(self) -> int:  # noqa: N802 # protobuf's name
        """Return its size on the wire."""


T = TypeVar("T")
Shown = TypeVar("Shown", bound=Message)

LARGEST_PAGE: Final = limits.PAGE_ENTRIES
"""Entries of one page."""

LARGEST_ANSWER: Final = limits.PAGE_BYTES
"""Bytes of one page, which keeps an answer below the 4 MiB that gRPC clients take by default."""


def page(
    items: Sequence[T], *, key: Callable[[T], str], size: int, token: str, render: Callable[[T], Shown | None]
) -> tuple[list[Shown], str]:
    """
    Return one page of `items`, which are in the order of `key`, and the token of the next one ("" after the last).

    `render` gives what is shown of an item; None, or an error, leaves it out, so that no entry ever fails a list.
    `size` 0 leaves it to us. Raises InvalidArgument for a negative size, Aborted for a token that is not ours.
    """
    if size < 0:
        raise InvalidArgument("max_entries must not be negative")
    after = _decode(token) if token else ""
    count = min(size or LARGEST_PAGE, LARGEST_PAGE)
    shown: list[Shown] = []
    total, last = 0, ""
    for item in items:
        if (name := key(item)) <= after:
            continue
        rendered = _rendered(name, item, render)
        if rendered is not None:
            total += rendered.ByteSize()
            if shown and (len(shown) >= count or total > LARGEST_ANSWER):
                return shown, _encode(last)
            shown.append(rendered)
        last = name
    return shown, ""


def _rendered(name: str, item: T, render: Callable[[T], Shown | None]) -> Shown | None:
    try:
        rendered = render(item)
    except Exception as error:  # noqa: BLE001 # reported below, once: lists are asked for every few seconds
        problem = repr(error)
    else:
        if rendered is None or rendered.ByteSize() <= LARGEST_ANSWER:
            return rendered
        problem = f"it has more than {LARGEST_ANSWER} bytes"
    if name not in _left_out:
        log.error("list.entry_left_out", entry=name, error=problem)
        _left_out.append(name)
    return None


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
