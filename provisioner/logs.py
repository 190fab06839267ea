"""
Where a process's own log goes: stderr, one line a state change, beside the few lines meant for people.

Nothing here raises: what cannot be rendered or written is dropped, since a log that fails (its reader is gone, its disk
is full) is no reason for a control loop to end.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

STDERR = 2
"""The descriptor; those of stdin and stdout are below it."""


class LossyStream:
    """A text stream that takes what it can: an error of the stream below loses that text, and is not raised."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None, which Python has for a standard stream that was closed at its start, drops all."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or lose it; returns its length, as a stream does."""
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.write(text)
        return len(text)

    def isatty(self) -> bool:
        """Whether a person reads it; False where that cannot be told."""
        with contextlib.suppress(Exception):
            return self._stream is not None and self._stream.isatty()
        return False

    def flush(self) -> None:
        """Hand on what is buffered, or lose it."""
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.flush()


def configure(log_format: str) -> None:
    """`text` for people (warnings and worse only), `json` for machines (everything)."""
    _open_standard_streams()
    as_json = log_format == "json"
    stream = LossyStream(sys.stderr)
    renderer: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[
            _never_raising(
                [
                    structlog.contextvars.merge_contextvars,
                    structlog.processors.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.format_exc_info,
                    renderer,
                ]
            )
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info" if as_json else "warning"),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )


def show(line: str) -> None:
    """Print one line on stderr for the person who started this process."""
    stream = LossyStream(sys.stderr)
    stream.write(line + "\n")
    stream.flush()


def _never_raising(processors: Sequence[Processor]) -> Processor:
    """Return a processor that runs all of these; an entry that one of them fails on is rendered by its name alone."""

    def render(logger: Any, method: str, entry: EventDict) -> Any:
        name = str(entry.get("event", ""))
        found: Any = entry
        try:
            for processor in processors:
                found = processor(logger, method, found)
        except Exception as error:  # noqa: BLE001 # a value may have any bug in its repr
            return f"{method} {name!r} (its values cannot be rendered: {type(error).__name__})"
        return found

    return render


def _open_standard_streams() -> None:
    """Have descriptors 0 to 2 open, so that no file opened later gets the number of a stream that was closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # as the streams that a process is started with are
    os.close(descriptor)
