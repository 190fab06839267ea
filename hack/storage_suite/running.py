"""Run the storage tests of one backend with ginkgo in several processes, and print progress."""

import codecs
import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hack.cluster.place import Cluster
from hack.storage_suite.definitions import Backend, driver_definition

FOCUS: Final = "External.Storage"
LEFT_OUT: Final = r"\[Disruptive\]"
"""The specs that are not run: they stop kubelet over ssh, or disconnect a network filesystem."""

REPORT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
MOST_HOURS: Final = 6
STUCK_MINUTES: Final = 15


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"storage-suite: {text}", flush=True)


@dataclass
class Progress:
    """
    Count specs in the output of ginkgo as it comes: a bullet for each that ended, followed by its state if it failed.

    In parallel runs ginkgo prints a spec at once when it has ended, so its lines are not mixed with another's.
    """

    done: int = 0
    total: int = 0
    failed: list[str] = field(default_factory=list)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _rest: str = ""
    _name_is_next: bool = False

    def feed(self, output: bytes) -> list[str]:
        """Process the next bytes; return the names of specs that failed in them."""
        text = self._decoder.decode(output)
        self.done += text.count("•")
        *lines, self._rest = (self._rest + text).split("\n")
        before = len(self.failed)
        for line in lines:
            if found := re.match(r"Will run (\d+) of \d+ specs", line):
                self.total = int(found[1])
            elif self._name_is_next and line.strip():
                self._name_is_next = False
                self.failed.append(line.strip())
            elif re.search(r"• \[(FAILED|PANICKED|TIMEDOUT|INTERRUPTED|ABORTED)", line):
                self._name_is_next = True
        return self.failed[before:]


@dataclass(frozen=True)
class Ran:
    """The result of a run: ginkgo's report, empty when it was interrupted, and the duration in seconds."""

    report: list[dict[str, Any]]
    seconds: float


def run(cluster: Cluster, programs: Path, backend: Backend, *, focus: str, processes: int, results: Path) -> Ran:
    """
    Run the tests; their output and report are written to `results`, beside the definition that they read.

    :param focus: regular expression for the part of a spec's name behind "External Storage"; "" for all
    """
    definition, log, report = (results / f"{backend.name}.{suffix}" for suffix in ("driver.json", "log", "report.json"))
    definition.write_text(json.dumps(driver_definition(backend), indent=2), encoding="utf-8")
    report.unlink(missing_ok=True)
    argv = [
        str(programs / "ginkgo"),
        "run",
        f"--procs={processes}",
        "--no-color",
        "--silence-skips",
        f"--timeout={MOST_HOURS}h",
        f"--poll-progress-after={STUCK_MINUTES}m",
        f"--focus={FOCUS}.*(?:{focus})" if focus else f"--focus={FOCUS}",
        f"--skip={LEFT_OUT}",
        f"--output-dir={results}",
        f"--json-report={report.name}",
        str(programs / "e2e.test"),
        "--",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--kubectl-path={cluster.programs}/kubectl",
        "--provider=skeleton",
        f"--num-nodes={cluster.size}",
        f"--e2e-output-dir={results}",
        f"--storage.testdriver={definition}",
    ]
    say(f"{backend.name}: begins; its output is in {log}")
    start = time.monotonic()
    _watch(argv, log, backend.name)
    seconds = time.monotonic() - start
    return Ran(json.loads(report.read_text(encoding="utf-8")) if report.exists() else [], seconds)


def _watch(argv: Sequence[str], log: Path, name: str) -> None:
    """Run a command with its output in a log and as progress; stop it when this process ends."""
    progress = Progress()
    start = shown = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            for output in _chunks(process):
                file.write(output)
                file.flush()
                for spec in progress.feed(output):
                    say(f"{name}: failed: {spec}")
                if time.monotonic() - shown >= REPORT_SECONDS:
                    shown = time.monotonic()
                    counts = f"{progress.done} of {progress.total or '?'} specs, {len(progress.failed)} failed"
                    say(f"{name}: {counts}, after {shown - start:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        finally:
            _end(process)
    if not progress.total:
        print(*log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:], sep="\n", file=sys.stderr)


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield the output of a process as it arrives, and periodically nothing, until it has ended."""
    if process.stdout is None:
        raise ValueError("the process has no pipe for its output")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=5):
                yield b""
                continue
            output = os.read(process.stdout.fileno(), 1 << 16)
            if not output:
                return
            yield output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and its children; kill them if they do not end soon."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
