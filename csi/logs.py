"""
The log: one line for each event on stderr, text for people, JSON for programs. The control plane uses it, too.

Nothing here raises: a line that cannot be rendered or written is dropped, since a failure of the log (a closed pipe, a
full disk) must not end a call or a loop.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor


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


def configure(log_format: str, *, text_level: str = "info") -> None:
    """Log as `text` for people from `text_level` up, or as `json` for programs from level info up."""
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
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        wrapper_class=structlog.make_filtering_bound_logger("info" if as_json else text_level),
        cache_logger_on_first_use=True,
    )


def _never_raising(processors: Sequence[Processor]) -> Processor:
    """Return a processor that runs all of these; if one of them fails, it renders only the event's name."""

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
