"""Start the engine in the background, and return when its API is ready."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from provisioner.embedded.settings import BadEnvironmentError, StatePaths, UpSettings

STOP_SECONDS = 30.0
"""The timeout in seconds for an engine whose start is aborted; it unmounts its volumes first."""


class StartError(Exception):
    """The engine ended before it was ready; the message is the last line of its log, `code` its exit code."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Background:
    """An engine in a new session (setsid); its log begins at byte `offset` of the log file."""

    process: "subprocess.Popen[bytes]"
    paths: StatePaths
    offset: int

    def missing(self) -> str:
        """Return what the start waits for, "" when the API is ready. Raises StartError."""
        code = self.process.poll()
        if code is not None:
            raise StartError(self._last_log_line() or "the engine ended without output", code=code or 1)
        return "" if _ready_engine(self.paths) == self.process.pid else "the engine is starting"

    def stop(self) -> None:
        """Stop an engine that did not become ready."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _last_log_line(self) -> str:
        """Return the last log line of this start, without the prefix `mooring: `."""
        with self.paths.log.open("rb") as log:
            log.seek(self.offset)
            # unbounded: what one start of the engine wrote into its log
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("mooring: ") if lines else ""


def start(settings: UpSettings) -> Background:
    """Start the engine in a new session (setsid), writing to its log file. Raises BadEnvironmentError."""
    paths = settings.paths
    try:
        paths.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(paths.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadEnvironmentError(
            f"cannot create {paths.log}: {error.strerror}; choose another directory with --state"
        ) from error
    argv = [sys.executable, "-m", "provisioner.embedded", msgspec.json.encode(settings).decode()]
    try:
        offset = os.fstat(descriptor).st_size
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True
        )
    finally:
        os.close(descriptor)
    return Background(process, paths, offset)


def run(settings: UpSettings, wait: Callable[[Callable[[], str]], None]) -> str:
    """
    Start the engine and wait until its API is ready; return the message for the user.

    Raises BadEnvironmentError and StartError.

    :param wait: polls its argument until that returns ""; when it raises, the engine is stopped
    """
    background = start(settings)
    try:
        wait(background.missing)
    except BaseException:
        background.stop()
        raise
    paths = settings.paths
    # unbounded: a file of the engine's own state
    port = paths.port_file.read_text(encoding="ascii").strip()
    return (
        f"ready: the API listens on https://127.0.0.1:{port}; KUBECONFIG={paths.kubeconfig}; its log is {paths.log}; "
        f"`kill {background.process.pid}` stops it"
    )


def _ready_engine(paths: StatePaths) -> int:
    """Return the process id of the ready engine, 0 for none; its file is written after all parts have started."""
    try:
        # unbounded: a file of the engine's own state
        content = msgspec.json.decode(Path(paths.process_file).read_bytes())
        return int(content["pid"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return 0
