"""Tests of the driver as a child process, with fake drivers that open the socket or refuse to run."""

import asyncio
import errno
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.embedded import driver_process
from provisioner.embedded.bounded_lines import lines
from provisioner.embedded.driver_process import DriverProcess, for_users
from provisioner.embedded.settings import BadEnvironmentError, UpSettings, prepare

SERVES = """
import os, signal, socket, sys, threading
path, lifeline = sys.argv[1], int(sys.argv[2])
def watch():
    os.read(lifeline, 1)
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
while True:
    server.accept()[0].close()
"""

REFUSES = """
import sys
sys.stderr.write("mooring driver: the pool /p is not mounted; mount it\\n")
sys.exit(78)
"""


TALKS = SERVES.replace(
    "while True:",
    "sys.stderr.write('x' * 1000000 + chr(10) + '[' * 60000 + chr(10) + 'last line' + chr(10))\nwhile True:",
)
"""Serves, after writing a line longer than the limit, and one nested too deeply for a JSON parser."""


class _FakeDriver(DriverProcess):
    script = SERVES

    def _argv(self) -> list[str]:
        return [sys.executable, "-c", self.script, str(self._settings.paths.socket), str(self._lifeline_reads)]


class _RefusingDriver(_FakeDriver):
    script = REFUSES


class _ClosedStream(io.StringIO):
    """A stderr whose reader is closed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


class _VerboseDriver(_FakeDriver):
    script = TALKS


class _FailingSpawn(_FakeDriver):
    """A driver whose first `failures` starts fail because the machine has no free process."""

    failures = 0

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self.failures:
            self.failures -= 1
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await super()._spawn()


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[_FakeDriver]:
    """A running fake driver."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    found = _FakeDriver(settings, report=lambda _: None)
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"level": "info", "event": "rpc.served"}', ""),
        ('{"level": "warning", "event": "pool.full", "pool": "p", "timestamp": "t"}', "driver: pool.full pool=p"),
        ("mooring driver: no", "mooring driver: no"),
    ],
)
def test_users_see_warnings_and_errors_only(line: str, expected: str) -> None:
    """The terminal of `mooring up` shows the driver's warnings and errors, not each of its calls."""
    assert expected == for_users(line)


async def test_it_serves_and_stops(driver: _FakeDriver) -> None:
    """After start() the socket accepts connections; after stop() the process has ended."""
    pid = driver.pid
    assert pid
    await driver.stop()
    assert driver.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_is_restarted_when_killed(driver: _FakeDriver) -> None:
    """A killed driver is restarted, with another process id."""
    watching = asyncio.create_task(driver.watch())
    before = driver.pid
    assert before
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(30):
        while driver.pid in (None, before):
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_it_ends_with_its_parent(driver: _FakeDriver) -> None:
    """When the write end of the lifeline is closed, as when the engine ends, the driver ends."""
    process = driver._process
    assert process
    driver.close_lifeline()
    async with asyncio.timeout(30):
        assert 0 == await process.wait()


async def test_its_refusal_is_raised_with_its_message(tmp_path: Path) -> None:
    """The user reads the driver's own message."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    driver = _RefusingDriver(settings, report=lambda _: None)
    try:
        with pytest.raises(BadEnvironmentError, match=r"^the pool /p is not mounted; mount it$"):
            await driver.start()
    finally:
        await driver.stop()


async def test_a_failed_restart_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed start is retried until it succeeds; each failure is reported."""
    monkeypatch.setattr(driver_process, "LAST_DELAY", 0.01)
    monkeypatch.setattr(driver_process, "FIRST_DELAY", 0.01)
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    messages: list[str] = []
    driver = _FailingSpawn(settings, report=messages.append)
    try:
        await driver.start()
        before = driver.pid
        assert before
        driver.failures = 3
        watching = asyncio.create_task(driver.watch())
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(30):
            while driver.pid in (None, before):
                await asyncio.sleep(0.01)
        assert not watching.done()
        watching.cancel()
    finally:
        await driver.stop()
    assert ["ended (killed by SIGKILL)", *["cannot be started"] * 3] == [
        next(each for each in ("ended (killed by SIGKILL)", "cannot be started") if each in line) for line in messages
    ]


async def test_a_failed_first_start_is_raised_with_a_message(tmp_path: Path) -> None:
    """The user gets a message instead of a traceback."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    driver = _FailingSpawn(settings, report=lambda _: None)
    driver.failures = 1
    try:
        with pytest.raises(BadEnvironmentError, match="cannot be started"):
            await driver.start()
    finally:
        await driver.stop()


@pytest.mark.parametrize("readable", [True, False])
async def test_its_messages_are_passed_on_however_long_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, readable: bool
) -> None:
    """They are read even when they cannot be written to stderr: otherwise the driver would block."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    driver = _VerboseDriver(settings, report=lambda _: None)
    if not readable:
        monkeypatch.setattr("sys.stderr", _ClosedStream())
    try:
        await driver.start()
        async with asyncio.timeout(30):
            while "last line" not in driver._last_lines:
                await asyncio.sleep(0.01)
    finally:
        await driver.stop()
        monkeypatch.undo()
    output = capfd.readouterr().err
    assert len(output) < 200_000
    assert ("last line" in output) is readable


@pytest.mark.parametrize("number", [9, 63])
def test_every_signal_has_a_description(number: int) -> None:
    """Most real-time signals have no name; they are described by their number."""
    assert driver_process._ending(-number) in ("killed by SIGKILL", "killed by signal 63")


@given(
    parts=st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"a\n", b"\n\n"]), max_size=8),
    longest=st.integers(min_value=0, max_value=6),
)
def test_lines_are_cut_to_the_maximum_length(parts: list[bytes], longest: int) -> None:
    """Each line has its first bytes and the number of missing ones, however the text is split into chunks."""
    text = b"".join(parts)
    expected = text.split(b"\n")[:-1] if text.endswith(b"\n") else text.split(b"\n")

    async def read() -> list[bytes]:
        stream = asyncio.StreamReader()
        for part in parts:
            stream.feed_data(part)
        stream.feed_eof()
        return [line async for line in lines(stream, longest=longest)]

    got = asyncio.run(read())
    assert got == [
        each if len(each) <= longest else each[:longest] + b"... (%d bytes more)" % (len(each) - longest)
        for each in expected
        if text
    ]
