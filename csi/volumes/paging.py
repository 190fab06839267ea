"""Paged lists: a token is the last key of the page before, so that pages stay correct while entries change."""

import base64
import binascii
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from csi import limits
from csi.errors import Aborted, InvalidArgument

MAX_REPORTED: Final = limits.OMITTED_ENTRY_REPORTS
"""Omitted entries that are remembered as reported."""

log = structlog.get_logger()

_omitted: deque[str] = deque(maxlen=MAX_REPORTED)


class Message(Protocol):
    """The protobuf message of an entry."""

    def ByteSize(self) -> int:  # noqa: N802 # protobuf's name
        """Return its size on the wire."""


T = TypeVar("T")
Rendered = TypeVar("Rendered", bound=Message)

MAX_PAGE_ENTRIES: Final = limits.PAGE_ENTRIES
"""Entries of one page."""

MAX_PAGE_BYTES: Final = limits.PAGE_BYTES
"""Bytes of one page, which keeps an answer below the 4 MiB that gRPC clients take by default."""


def page(
    items: Sequence[T], *, key: Callable[[T], str], size: int, token: str, render: Callable[[T], Rendered | None]
) -> tuple[list[Rendered], str]:
    """
    Return one page of `items`, which are in the order of `key`, and the token of the next one ("" after the last).

    `render` gives what is shown of an item; None, or an error, omits it, so that no entry fails a list.
    `size` 0 means the maximum. Raises InvalidArgument for a negative size, Aborted for a token of another driver.
    """
    if size < 0:
        raise InvalidArgument("max_entries must not be negative")
    after = _decode(token) if token else ""
    count = min(size or MAX_PAGE_ENTRIES, MAX_PAGE_ENTRIES)
    shown: list[Rendered] = []
    total, last = 0, ""
    for item in items:
        if (name := key(item)) <= after:
            continue
        rendered = _rendered(name, item, render)
        if rendered is not None:
            total += rendered.ByteSize()
            if shown and (len(shown) >= count or total > MAX_PAGE_BYTES):
                return shown, _encode(last)
            shown.append(rendered)
        last = name
    return shown, ""


def _rendered(name: str, item: T, render: Callable[[T], Rendered | None]) -> Rendered | None:
    try:
        rendered = render(item)
    except Exception as error:  # noqa: BLE001 # reported below, once: lists are requested every few seconds
        problem = repr(error)
    else:
        if rendered is None or rendered.ByteSize() <= MAX_PAGE_BYTES:
            return rendered
        problem = f"it has more than {MAX_PAGE_BYTES} bytes"
    if name not in _omitted:
        log.error("list.entry_omitted", entry=name, error=problem)
        _omitted.append(name)
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
