"""
Rules for every test: the capabilities of the machine that it needs, and that it leaves nothing behind.

A test with ``@pytest.mark.needs("root", "loop")`` is skipped on a machine without one of them, with the reason. In CI
(``CI=true``) a skip for any other reason fails the run, and so does a skip for a capability that the machine has.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests import sweeps

ROOT = Path(__file__).resolve().parent.parent
MARK = "MOORING_TEST_RUN"
"""Environment variable that every process of one test run inherits."""

TESTS = "t"
"""The directory of this run that pytest creates and clears."""

LONG = {("tests", each) for each in ("machine", "oracle", "property", "sanity")}
"""Directories with tests that take many seconds each."""

PARENT = pytest.StashKey[str]()
REPORT_LINES = pytest.StashKey[list[str]]()

settings.register_profile(
    "tests",  # the duration of an example depends on the load of the machine
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")
settings.register_profile(
    "mutants",  # for `make mutants`: the same examples each time, without a deadline, and no shrinking of a failure
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_configure(config: pytest.Config) -> None:
    """
    Give this run a unique mark and a temporary directory with a short path.

    With pytest-xdist each worker has its own: a test is checked for what its own worker left behind, so that concurrent
    tests do not affect each other.
    """
    worker = _worker(config)
    if not worker:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends a run's clusters and mounts, too
    os.environ[MARK] = uuid.uuid4().hex
    config.stash[PARENT] = worker["parent"] if worker else tempfile.gettempdir()
    private = tempfile.mkdtemp(prefix="mooring-", dir=config.stash[PARENT])
    Path(private).chmod(0o755)  # so that tests which drop their privileges can reach their files
    patch = pytest.MonkeyPatch()
    patch.setenv("TMPDIR", private)
    patch.setattr(tempfile, "tempdir", private)
    config.add_cleanup(patch.undo)  # another run in this process gets its own directory
    if config.option.basetemp is None or worker:
        config.option.basetemp = f"{private}/{TESTS}"  # the path of a unix socket has at most 107 bytes
    config.stash[REPORT_LINES] = []
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(sweeps.SEED)


def _worker(config: pytest.Config) -> dict[str, str] | None:
    """Return the input of this worker from the process that started it; None outside of a worker."""
    found: dict[str, str] | None = getattr(config, "workerinput", None)
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass a worker the parent of its temporary directory: beside this process's directory, not in it."""
    node.workerinput["parent"] = node.config.stash[PARENT]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send a worker's report lines to the process that prints them."""
    if _worker(session.config):
        session.config.workeroutput["report_lines"] = session.config.stash[REPORT_LINES]  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add a worker's report lines; a worker that crashed has none."""
    node.config.stash[REPORT_LINES] += getattr(node, "workeroutput", {}).get("report_lines", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report lines of the tests."""
    for line in (*config.stash[REPORT_LINES], sweeps.described()):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report_lines(pytestconfig: pytest.Config) -> list[str]:
    """Lines with measurements, counts and seeds, which are printed at the end of the run."""
    return pytestconfig.stash[REPORT_LINES]


def pytest_unconfigure() -> None:
    """Remove the run's directory when it has only pytest's files; else print its path."""
    private = Path(tempfile.gettempdir())
    if _files() or _mounts():
        sys.stderr.write(f"not empty, retained for inspection: {private}\n")
    else:
        shutil.rmtree(private)


@cache
def _capabilities() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("capabilities", str(ROOT / "hack" / "capabilities"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@cache
def _lacking(capability: str) -> str:
    """Return why the machine does not have the capability; "" when it has it."""
    found: dict[str, str] = _capabilities().missing([capability])
    return found.get(capability, "")


def _takes_long(item: pytest.Item) -> bool:
    return item.path.is_relative_to(ROOT) and item.path.relative_to(ROOT).parts[:2] in LONG


@pytest.hookimpl(trylast=True)  # after the random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a capability the machine lacks, with the reason; put long tests first."""
    items.sort(
        key=lambda item: not _takes_long(item)
    )  # else a worker may start a long test when the others have finished
    for item in items:
        for marker in item.iter_markers("needs"):
            for capability in marker.args:
                if reason := _lacking(capability):
                    item.add_marker(pytest.mark.skip(reason=f"needs {capability}: {reason}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI, turn a skip that names no missing capability into a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.skipped or os.environ.get("CI") != "true" or hasattr(report, "wasxfail"):
        return
    needed = [capability for marker in item.iter_markers("needs") for capability in marker.args]
    if not any(_lacking(capability) for capability in needed):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} was skipped though the machine has what it needs ({needed}): {report.longrepr}"
        )


def _mounts() -> set[str]:
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return {line.split()[4] for line in table.splitlines() if tempfile.gettempdir() in line}


def _loop_devices() -> set[str]:
    """Return the loop devices of files of this run; a device that is detached meanwhile is left out."""
    found = set()
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            path = device.read_text(encoding="utf-8").strip()
            if tempfile.gettempdir() in path:
                found.add(f"{device.parent.parent.name} on {path}")
    return found


def _processes() -> set[str]:
    """Return the running processes of this run, orphans included: its mark is in their environment."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_text(encoding="utf-8").replace("\0", " ")[:120]
                found.add(f"{entry.name} {words}")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or belongs to another user
    return found


def _files() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name != TESTS}  # noqa: PTH208


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Fail a test that leaves a mount, a loop device, a process or a file behind, whether it passed or failed."""
    before = (_mounts(), _loop_devices(), _processes(), _files())
    yield
    after = (_mounts(), _loop_devices(), _processes(), _files())
    names = ("mounts", "loop devices", "processes", "temporary files")
    left = {name: sorted(now - then) for name, then, now in zip(names, before, after, strict=True) if now - then}
    assert not left, f"left behind: {left}"


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Reset the logging configuration of a test or a command that it called: its stream is closed after the test."""
    yield
    structlog.reset_defaults()
