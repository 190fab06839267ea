"""Run `mooring up`: start the driver, API server and control plane, and stop them in reverse order."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator

import msgspec
import structlog

from provisioner import logs
from provisioner.embedded import rootless
from provisioner.embedded.apiserver.http.connections import raise_descriptor_limit
from provisioner.embedded.engine import Engine
from provisioner.embedded.settings import BadEnvironmentError, StatePaths, UpSettings, disable_proxies, prepare
from provisioner.kube.errors import KubeconfigError

log = structlog.get_logger()

OK = 0
FAILED = 1
BAD_ENVIRONMENT = 78
UMASK = 0o022
"""The umask of the engine, so that files have the intended modes whatever the user's umask is."""
SAME_SIGNAL_SECONDS = 1.0
"""The seconds in which a further signal is ignored: some shells and supervisors send the first one twice."""


def run(settings: UpSettings) -> int:
    """
    Run the engine in the foreground until SIGINT or SIGTERM; return the exit code.

    The exit code is 0 after an orderly stop, 1 when a part of the engine failed, 78 when the machine or the state
    directory cannot be used. Without root the engine restarts itself in a user namespace, with the same process id.
    """
    logs.configure(settings.log_format)
    os.umask(UMASK)
    raise_descriptor_limit()
    disable_proxies(os.environ)
    try:
        if os.geteuid() != 0 and not settings.rootless:
            rootless.enter(settings)
        prepare(settings.paths)
        with _locked(settings.paths):
            return asyncio.run(_run_until_signal(settings))
    except (BadEnvironmentError, KubeconfigError) as error:
        report(f"mooring: {error}")
        return BAD_ENVIRONMENT


def report(text: str) -> None:
    """Print one line for the user."""
    logs.show(text)


@contextlib.contextmanager
def _locked(paths: StatePaths) -> Iterator[None]:
    """Lock the state directory, so that a second engine on it is refused."""
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadEnvironmentError(
                f"another engine already runs on {paths.state}; stop it, or choose another directory with --state"
            ) from None
        yield
    finally:
        os.close(descriptor)


async def _run_until_signal(settings: UpSettings) -> int:
    """Run the engine until a signal or a failure, and stop it; return the exit code."""
    stop_requested = asyncio.Event()
    force = asyncio.Event()

    loop = asyncio.get_running_loop()
    first = 0.0

    def on_signal() -> None:
        nonlocal first
        if not stop_requested.is_set():
            first = loop.time()
            stop_requested.set()
        elif loop.time() - first > SAME_SIGNAL_SECONDS:
            report("stopping by force")
            force.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    engine = Engine(settings, report=report)
    code = OK
    try:
        starting = asyncio.create_task(engine.start())
        await _first_of(starting, stop_requested)
        if starting.done():
            starting.result()
            _write_process_file(settings)
            if not stop_requested.is_set():
                report(f"ready: the API listens on {engine.address}; KUBECONFIG={settings.paths.kubeconfig}")
            failed = asyncio.create_task(engine.failed())
            await _first_of(failed, stop_requested)
            if failed.done():
                report(f"mooring: a part of the engine failed ({failed.result()}); stopping")
                code = FAILED
            failed.cancel()
        else:
            starting.cancel()
            await asyncio.wait([starting])
    finally:
        stopping = asyncio.create_task(engine.stop(force))
        await asyncio.wait([stopping])
        settings.paths.process_file.unlink(missing_ok=True)
        for problem in stopping.result():
            report(f"mooring: {problem}")
            code = code or FAILED
    return code


async def _first_of(task: "asyncio.Task[object]", event: asyncio.Event) -> None:
    """Wait until the task is done or the event is set."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _write_process_file(settings: UpSettings) -> None:
    """Write the process id, by which the mount namespace with the volumes is found."""
    temporary = settings.paths.process_file.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode({"pid": os.getpid(), "rootless": settings.rootless}))
    temporary.replace(settings.paths.process_file)
