"""A log stream that is closed, full or broken ends no call and no loop: text that cannot be written is lost."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from csi.logs import configure
from tests.conftest import ROOT
from tests.unit.csi.services.driver import Driver


class Broken(io.StringIO):
    """Raises the given error on every use."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        """Fail."""
        del text
        raise self._error

    def flush(self) -> None:
        """Fail."""
        raise self._error

    def isatty(self) -> bool:
        """Fail."""
        raise self._error


@pytest.fixture(autouse=True)
def _settings_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "stream",
    [
        Broken(BrokenPipeError(32, "Broken pipe")),
        Broken(OSError(28, "No space left")),
        Broken(ValueError("closed")),
        None,
    ],
)
def test_no_log_line_raises(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None, log_format: str) -> None:
    """Nor does one in the handler of another error."""
    monkeypatch.setattr(sys, "stderr", stream)
    configure(log_format)
    log = structlog.get_logger()
    log.info("event", path="/\udcff", value=object())
    try:
        raise RecursionError("cause")
    except RecursionError as error:
        log.exception("failed", error=repr(error))


def test_a_driver_serves_when_its_log_has_no_reader(tmp_path: Path) -> None:
    """Each call is logged to a pipe whose reading end is closed."""
    driver = Driver(tmp_path)
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "csi", f"--endpoint=unix://{tmp_path}/csi.sock", "--node-id=n"]
    argv += [f"--pool={driver.pool}", "--init-empty-pools"]
    with subprocess.Popen(argv, cwd=ROOT, stderr=writer) as process:
        try:
            os.close(writer)
            driver.connect()
            os.close(reader)
            for number in range(3):
                driver.delete(driver.create(f"v{number}").volume_id)
            assert process.poll() is None
        finally:
            process.terminate()
        assert process.wait(30) == 0
