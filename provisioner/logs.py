"""
The log of the control plane: one line for each event on stderr, text for people, JSON for programs.

Nothing here raises: a line that cannot be rendered or written is dropped, since a failure of the log (a closed pipe, a
full disk) must not end a control loop. `csi/process/logs.py` is the log of the driver.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

STDERR = 2
"""The file descriptor of stderr; those of stdin and stdout are smaller."""


class LossyStream:
    """A text stream that never raises: text that the underlying stream fails to write is lost."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None, Python's value for a standard stream that was closed at startup, drops all text."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or drop it; return its length, as a stream does."""
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.write(text)
        return len(text)

    def isatty(self) -> bool:
        """Report whether the stream is a terminal; False where that is unknown."""
        with contextlib.suppress(Exception):
            return self._stream is not None and self._stream.isatty()
        return False

    def flush(self) -> None:
        """Flush the underlying stream, or drop its buffer."""
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.flush()


def configure(log_format: str) -> None:
    """Log warnings and errors as `text` for people, or everything from level info up as `json` for programs."""
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
    """Return a processor that runs all of these; an entry that one of them fails on is rendered by its name only."""

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
    """Open descriptors 0 to 2 where they are closed, so that no file opened later gets the number of a stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # like the standard streams that a process inherits
    os.close(descriptor)
