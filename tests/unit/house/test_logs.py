"""Logging of the driver and the control plane never raises, whatever the entry and the state of the stream."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import structlog

import csi.logs
import provisioner.logs


class _BrokenStream(io.StringIO):
    """A stream whose reader is closed, or whose disk is full."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


class _UnprintableValue:
    """A value whose __repr__ raises."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


class _RecursiveError(Exception):
    def __str__(self) -> str:
        raise RecursionError


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Restore the configuration of structlog after the test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("logs", [csi.logs, provisioner.logs])
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("stream", [_BrokenStream, lambda: None, lambda: open("/dev/full", "w")])  # noqa: PTH123, SIM115
def test_a_broken_stream_loses_messages_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, logs: ModuleType, log_format: str, stream: Callable[[], object]
) -> None:
    """The streams are a closed one, a pipe without a reader, and a full disk; also within an except clause."""
    broken = stream()
    monkeypatch.setattr("sys.stderr", broken)
    logs.configure(log_format)
    log = structlog.get_logger()
    for _ in range(300):
        log.warning("loop.turn_failed", text="x" * 100)
    try:
        raise KeyError("a bug")
    except KeyError as error:
        log.error("loop.turn_failed", exc_info=error)
        log.exception("loop.turn_failed")
    provisioner.logs.show("a message")
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        getattr(broken, "close", lambda: None)()


@pytest.mark.parametrize("logs", [csi.logs, provisioner.logs])
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("value", [_UnprintableValue(), _RecursiveError(), "\udcff", {("a", 1): 2}])
def test_an_entry_that_cannot_be_rendered_keeps_its_event_name(
    capsys: pytest.CaptureFixture[str], logs: ModuleType, log_format: str, value: object
) -> None:
    """One of its values, or the logged exception, cannot be converted to text."""
    logs.configure(log_format)
    log = structlog.get_logger()
    log.warning("object.unreadable", value=value, exc_info=value if isinstance(value, Exception) else None)
    log.warning("next.entry")
    output = capsys.readouterr().err
    assert "next.entry" in output
    if "surrogate" not in output and value != "\udcff":
        assert "object.unreadable" in output


@pytest.mark.parametrize("logs", [csi.logs, provisioner.logs])
def test_the_json_format_has_one_object_a_line(capsys: pytest.CaptureFixture[str], logs: ModuleType) -> None:
    """Each object has level, time and event."""
    logs.configure("json")
    structlog.get_logger().info("a.b", key=1)
    entry = json.loads(capsys.readouterr().err)
    assert entry.pop("timestamp")
    assert entry == {"level": "info", "event": "a.b", "key": 1}


def test_the_descriptor_of_a_closed_stderr_is_not_reused_for_a_file() -> None:
    """Otherwise output to descriptor 2 would be written to the first file that is opened."""
    script = """
import os, sys
from provisioner import logs
logs.configure("text")
assert os.open(os.devnull, os.O_RDONLY) > 2
logs.show("this is not written")
"""
    closing = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(closing, check=False, timeout=30).returncode == 0
