"""The driver as a child: a stand-in that opens the socket, and ends as the test tells it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.embedded.driver_process import DriverProcess, for_people
from provisioner.embedded.settings import BadEnvironment, UpSettings, prepare

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


class _Stand(DriverProcess):
    script = SERVES

    def _argv(self) -> list[str]:
        return [sys.executable, "-c", self.script, str(self._settings.paths.socket), str(self._lifeline_reads)]


class _Refusing(_Stand):
    script = REFUSES


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[_Stand]:
    """A driver that serves."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    found = _Stand(settings, tell=lambda _: None)
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "info", "event": "rpc.served"}', ""),
        ('{"level": "warning", "event": "pool.full", "pool": "p", "timestamp": "t"}', "driver: pool.full pool=p"),
        ("mooring driver: no", "mooring driver: no"),
    ],
)
def test_people_see_what_is_not_ordinary(line: str, shown: str) -> None:
    """The terminal of `mooring up` shows the driver's warnings and refusals, not each of its calls."""
    assert shown == for_people(line)


async def test_it_serves_and_stops(driver: _Stand) -> None:
    """After start() the socket answers; after stop() the process is gone."""
    pid = driver.pid
    assert pid
    await driver.stop()
    assert driver.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_comes_back_when_killed(driver: _Stand) -> None:
    """A driver that is killed is started again, under another process id."""
    watching = asyncio.create_task(driver.watch())
    before = driver.pid
    assert before
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(30):
        while driver.pid in (None, before):
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_it_ends_with_its_parent(driver: _Stand) -> None:
    """When the writing end of the lifeline closes, as it does with its owner's death, the driver ends."""
    process = driver._process
    assert process
    driver.let_go()
    async with asyncio.timeout(30):
        assert 0 == await process.wait()


async def test_its_refusal_is_passed_on(tmp_path: Path) -> None:
    """The driver's own sentence is what the person reads."""
    settings = UpSettings(state=str(tmp_path))
    prepare(settings.paths)
    driver = _Refusing(settings, tell=lambda _: None)
    try:
        with pytest.raises(BadEnvironment, match=r"^the pool /p is not mounted; mount it$"):
            await driver.start()
    finally:
        await driver.stop()
