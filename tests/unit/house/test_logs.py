"""The logs of driver and control plane: no entry and no state of their stream makes logging raise."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import structlog

import csi.process.logs
import provisioner.logs


class _Broken(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


class _Unspeakable:
    """A value whose own description is a bug."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


class _Deep(Exception):
    def __str__(self) -> str:
        raise RecursionError


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """The log's own settings, after the test as before it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("logs", [csi.process.logs, provisioner.logs])
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("stream", [_Broken, lambda: None, lambda: open("/dev/full", "w")])  # noqa: PTH123, SIM115
def test_a_broken_stream_loses_messages_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, logs: ModuleType, log_format: str, stream: Callable[[], object]
) -> None:
    """Closed at the start, a pipe without a reader, a full disk; also within an except clause."""
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
    provisioner.logs.show("a sentence")
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        getattr(broken, "close", lambda: None)()


@pytest.mark.parametrize("logs", [csi.process.logs, provisioner.logs])
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("value", [_Unspeakable(), _Deep(), "\udcff", {("a", 1): 2}])
def test_an_entry_that_cannot_be_rendered_is_named(
    capsys: pytest.CaptureFixture[str], logs: ModuleType, log_format: str, value: object
) -> None:
    """Whatever is wrong with one of its values, or with the exception that is logged."""
    logs.configure(log_format)
    log = structlog.get_logger()
    log.warning("object.unreadable", value=value, exc_info=value if isinstance(value, Exception) else None)
    log.warning("next.entry")
    said = capsys.readouterr().err
    assert "next.entry" in said
    if "surrogate" not in said and value != "\udcff":
        assert "object.unreadable" in said


@pytest.mark.parametrize("logs", [csi.process.logs, provisioner.logs])
def test_programs_get_json(capsys: pytest.CaptureFixture[str], logs: ModuleType) -> None:
    """One object a line, with level, time and event."""
    logs.configure("json")
    structlog.get_logger().info("a.b", key=1)
    entry = json.loads(capsys.readouterr().err)
    assert entry.pop("timestamp")
    assert entry == {"level": "info", "event": "a.b", "key": 1}


def test_a_closed_stderr_gives_its_number_to_no_file() -> None:
    """Else what is written to descriptor 2 would end up in whatever file was opened first."""
    script = """
import os, sys
from provisioner import logs
logs.configure("text")
assert os.open(os.devnull, os.O_RDONLY) > 2
logs.show("nobody hears this")
"""
    closing = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(closing, check=False, timeout=30).returncode == 0
