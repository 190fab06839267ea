"""No program works on an image after its driver ended; if one does, the next driver finds the image locked."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from csi.host import commands
from csi.host.commands import Limit, run
from csi.host.errors import CommandNotFoundError, ImageLockedError, UnsafePathError
from csi.host.locks import locked
from tests.conftest import ROOT
from tests.until import until

DRIVER = """
import sys
from pathlib import Path
from csi.host.commands import Limit, run
from csi.host.locks import locked
with locked(Path(sys.argv[1])) as image:
    run([*sys.argv[2:]], limit=Limit.CHECK, inherit=[image.descriptor])
"""


@contextmanager
def _driver(image: Path, *program: str) -> Iterator[subprocess.Popen[str]]:
    """A process that works on the image through a program, as a driver does."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(image), *program], cwd=ROOT, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return state == "Z"  # ended, but its new parent has not reaped it yet


@pytest.mark.parametrize("stopped", [False, True])
def test_a_program_is_killed_with_its_driver_and_releases_the_image(tmp_path: Path, *, stopped: bool) -> None:
    """After SIGKILL of the driver no program works on the image, also if the program was stopped."""
    image, started = tmp_path / "image", tmp_path / "started"
    image.touch()
    program = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(60)"
    with _driver(image, sys.executable, "-c", program) as process:
        until(started.exists, "the program has started", seconds=20, pause=0.005)
        while not (pid := started.read_text(encoding="ascii")):
            time.sleep(0.005)
        if stopped:
            os.kill(int(pid), signal.SIGSTOP)
        with pytest.raises(ImageLockedError, match="try again"), locked(image):
            pass
        process.kill()
        process.wait()

        until(partial(_has_ended, int(pid)), "the program has ended", seconds=20, pause=0.005)
        with locked(image) as locked_image:
            assert locked_image.path == image


def test_the_lock_is_held_as_long_as_a_program_of_the_driver_runs(tmp_path: Path) -> None:
    """The next driver does not rely on the signal: a program that still runs has the lock of its killed driver."""
    image, started = tmp_path / "image", tmp_path / "started"
    image.touch()
    with _driver(
        image, "setpriv", "--pdeathsig", "clear", "--", "bash", "-c", f"echo $$ >{started}; exec sleep 60"
    ) as process:
        until(started.exists, "the program has started", seconds=20, pause=0.005)
        while not (pid := started.read_text(encoding="ascii").strip()):
            time.sleep(0.005)
        process.kill()
        process.wait()
        try:
            with pytest.raises(ImageLockedError), locked(image):
                pass
        finally:
            os.kill(int(pid), signal.SIGKILL)
        until(partial(_has_ended, int(pid)), "the program has ended", seconds=20, pause=0.005)
        with locked(image):
            pass


def test_a_program_is_not_killed_when_another_thread_ends() -> None:
    """Only the end of the thread that started it kills it, and that thread waits for it."""
    results: list[int] = []
    slow = threading.Thread(target=lambda: results.append(run(["sleep", "0.2"], limit=Limit.QUERY).exit_code))
    slow.start()
    quick = threading.Thread(target=lambda: results.append(run(["true"], limit=Limit.QUERY).exit_code))
    quick.start()
    quick.join()
    slow.join()

    assert results == [0, 0]


def test_no_program_is_a_script() -> None:
    """The children of a script would outlive it; programs that are not installed here are checked on other machines."""
    installed = [found for found in map(shutil.which, commands.PACKAGES) if found]
    assert len(installed) > 1
    assert [found for found in installed if not Path(found).read_bytes().startswith(b"\x7fELF")] == []


def test_without_setpriv_the_error_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program runs that could outlive the driver."""
    monkeypatch.setattr(commands, "_KILLED_WITH_DRIVER", ("no-setpriv", "--"))
    monkeypatch.setitem(commands.PACKAGES, "no-setpriv", "util-linux")
    with pytest.raises(CommandNotFoundError, match="no-setpriv is not installed; install the package util-linux"):
        run(["true"], limit=Limit.QUERY)


def test_a_link_is_no_image(tmp_path: Path) -> None:
    """A lock on its target would be a lock on another file."""
    (tmp_path / "image").symlink_to("/etc/hostname")
    with pytest.raises(UnsafePathError, match="not followed"), locked(tmp_path / "image"):
        pass
