"""Run the driver as a child process: start it, restart it when it ends, and stop it with the engine."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable

import structlog

from provisioner import limits, logs
from provisioner.embedded.bounded_lines import lines
from provisioner.embedded.settings import BadEnvironmentError, UpSettings

log = structlog.get_logger()

BAD_FLAGS = 2
BAD_ENVIRONMENT = 78
FIRST_DELAY = 0.1
LAST_DELAY = limits.DRIVER_RESTART_SECONDS
STEADY_SECONDS = 30.0
"""The seconds that a driver has to run for the restart delay to be reset."""

START_SECONDS = 20.0
STOP_SECONDS = 20.0
RETAINED_LINES = limits.DRIVER_LINES

MESSAGE_PREFIX = "mooring driver: "
"""The prefix of the driver's message when it cannot run."""


class DriverProcess:
    """
    The process of one driver, restarted whenever it ends.

    The driver has the read end of a pipe, its lifeline, whose write end only this process has. When this process ends
    in any way, the driver reads end-of-file and stops.
    """

    def __init__(self, settings: UpSettings, *, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._report = report
        self._process: asyncio.subprocess.Process | None = None
        self._start_error = ""  # of the last start
        self._stopping = False
        self._served = False
        self._last_lines: deque[str] = deque(maxlen=RETAINED_LINES)
        self._relays: set[asyncio.Task[None]] = set()
        self._lifeline_reads, self._lifeline = os.pipe()
        self._lifeline_is_open = True

    @property
    def pid(self) -> int | None:
        """The process id of the driver; None while it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """
        Start the driver and wait until it listens on its socket.

        Raises BadEnvironmentError when the driver cannot be started, does not listen within START_SECONDS, or refuses
        to run; then with the driver's message.
        """
        socket = self._settings.paths.socket
        try:
            await asyncio.to_thread(socket.unlink, missing_ok=True)
            process = await self._spawn()
        except OSError as error:
            raise BadEnvironmentError(f"the driver cannot be started: {error}") from None
        ended = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(START_SECONDS):
                # unbounded: until the timeout of START_SECONDS
                while not await _accepts_connections(str(socket)):
                    if ended.done():
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
            raise BadEnvironmentError(
                f"the driver did not open its socket {socket} within {START_SECONDS:.0f} s; see its messages above"
            ) from None
        finally:
            if not ended.done():
                ended.cancel()
        if process.returncode is not None:
            await self._drain()
            raise BadEnvironmentError(self._why(process.returncode))
        self._served = True

    async def watch(self) -> None:
        """
        Restart the driver whenever it ends, with exponential backoff, until cancelled.

        A failed start is retried in the same way: the machine may lack processes or file descriptors for a while.
        """
        delay = FIRST_DELAY
        while not self._stopping:
            ran_seconds = await self._ended()
            if self._stopping:
                return
            if ran_seconds > STEADY_SECONDS:
                delay = FIRST_DELAY
            code = self._process.returncode if self._process else None
            why = f"cannot be started ({self._start_error})" if code is None else f"ended ({_ending(code)})"
            self._report(f"the driver {why}; restarting it in {delay:.1f} s")
            log.info("driver.ended", code=code, error=self._start_error, restart_in_seconds=round(delay, 1))
            await self._spawn_after(delay)
            delay = min(delay * 2, LAST_DELAY)

    async def _ended(self) -> float:
        """Wait until the driver has ended; return the seconds that this took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._process is not None:
            await self._process.wait()
        return loop.time() - started

    async def _spawn_after(self, delay: float) -> None:
        """Wait `delay` seconds and start the driver, unless it is being stopped; record the error of a failed start."""
        await asyncio.sleep(delay)
        if self._stopping:
            return
        self._process, self._start_error = None, ""
        try:
            await self._spawn()
        except Exception as error:  # noqa: BLE001 # the API must keep running; the start is retried
            self._start_error = str(error) or repr(error)

    async def stop(self, *, force: bool = False) -> None:
        """Stop the driver with SIGTERM, and with SIGKILL after STOP_SECONDS or when forced."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if force else signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.warning("driver.killed", after_seconds=STOP_SECONDS)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await self._drain()
        self.close_lifeline()

    def close_lifeline(self) -> None:
        """Close the lifeline, which stops a running driver."""
        if self._lifeline_is_open:
            self._lifeline_is_open = False
            os.close(self._lifeline)
            os.close(self._lifeline_reads)

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._argv(),
            pass_fds=(self._lifeline_reads,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C is sent to the whole foreground process group; the driver must run until everything is unstaged.
            start_new_session=True,
            limit=limits.DRIVER_LINE_BYTES,
        )
        self._process = process
        relay = asyncio.create_task(self._relay(process))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)
        log.info("driver.started", pid=process.pid)
        return process

    def _argv(self) -> list[str]:
        settings = self._settings
        argv = [sys.executable, "-m", "csi", "--endpoint", settings.paths.endpoint, "--node-id", settings.node_name]
        for pool in (str(settings.paths.pool), *settings.pools):
            argv += ["--pool", pool]
        argv += ["--init-empty-pools", "--purge-interval", f"{settings.purge_interval:g}"]
        return [*argv, "--lifeline-fd", str(self._lifeline_reads), "--log-format", "json"]

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """
        Write the driver's messages to the engine's stderr, and retain the last ones to explain an early end.

        Reading continues even where writing fails: a driver whose stderr is not read would block.
        """
        assert process.stderr is not None  # noqa: S101 - it was created as a pipe
        as_json = self._settings.log_format == "json"
        async for line in lines(process.stderr):
            text = line.decode("utf-8", errors="replace").rstrip()
            self._last_lines.append(text)
            if not self._served and text.startswith(MESSAGE_PREFIX):
                continue  # start() raises it
            if output := text if as_json else for_users(text):
                logs.show(output)

    async def _drain(self) -> None:
        if self._relays:
            await asyncio.wait(self._relays, timeout=1.0)

    def _why(self, code: int) -> str:
        """Return the driver's message on why it does not run, or else how it ended."""
        messages = [line for line in self._last_lines if line.startswith(MESSAGE_PREFIX)]
        if messages and code in (BAD_FLAGS, BAD_ENVIRONMENT):
            return messages[-1].removeprefix(MESSAGE_PREFIX)
        return f"the driver ended at once ({_ending(code)}); see its messages above"


def for_users(line: str) -> str:
    """Return a line of the driver's log as text for users, "" for one of level info or debug."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(entry, dict) or entry.get("level") in ("debug", "info"):
        return ""
    rest = " ".join(f"{key}={value}" for key, value in entry.items() if key not in ("level", "event", "timestamp"))
    return f"driver: {entry.get('event', '')} {rest}".rstrip()


async def _accepts_connections(path: str) -> bool:
    """Report whether the socket accepts connections."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _ending(code: int) -> str:
    """Return how a process ended, as text."""
    if code < 0:
        known = {each.value: each.name for each in signal.Signals}  # most real-time signals have no name
        return f"killed by {known.get(-code, f'signal {-code}')}"
    return f"exit code {code}"
