"""
Run Kubernetes' own storage tests, the specs called External.Storage, against Mooring as it is installed in a cluster.

    python -m hack.storage_suite [BACKEND...]       all backends without a name
    python -m hack.storage_suite --build            only build what is needed
    python -m hack.storage_suite --list             list the backends

FOCUS, a regular expression, narrows the specs: FOCUS=subPath. PROCS is the number of ginkgo's processes side by side
(4). MOORING_CLUSTER names the cluster (storage-suite); a running one is used and left running, otherwise it is started
here and taken down at the end, also when the run is interrupted. Logs, reports and definitions are stored in
~/.cache/mooring/storage-suite/<cluster>. Exit 1 when a spec failed that is not in expected_failures.toml, or when one
of those passed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hack.cluster import binaries, life
from hack.cluster.place import Cluster, cache
from hack.storage_suite import images, running
from hack.storage_suite.definitions import BACKENDS, Backend, objects
from hack.storage_suite.running import say
from hack.storage_suite.verdict import Verdict, expected_failures, specs, verdict
from tests.cluster import installing
from tests.cluster.running import Running

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = os.environ.get("MOORING_CLUSTER", "storage-suite")
NODES: Final = 2
PROCESSES: Final = int(os.environ.get("PROCS") or 4)


def _build() -> Path:
    """Build all programs; return the folder with the tests' programs."""
    version = binaries.wanted_version()
    life.build(version)
    installing.image()
    return binaries.provided(binaries.suite(version))


@contextmanager
def _cluster() -> Iterator[Cluster]:
    """Provide a cluster, and take it down at the end if it was started here."""
    ours = life.running(NAME) is None
    try:
        yield life.up(NAME, nodes=NODES)
    finally:
        if ours:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # otherwise a partial cluster would stay
            say("taking the cluster down")
            life.down(NAME)


def _prepare(cluster: Cluster, programs: Path) -> None:
    """Load the tests' images, install Mooring, and apply the classes that the tests copy."""
    listing = subprocess.run([programs / "e2e.test", "--list-images"], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "images.tar"
        images.write(archive, images.names(listing.stdout), programs / images.AGNHOST)
        life.load(cluster, archive)
    inside = Running(cluster)
    seconds = installing.install(inside)
    inside.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects()}))
    say(f"Mooring is installed, after {seconds:.0f} s")


def _capabilities() -> list[str]:
    """Return the capabilities of this machine on which expected failures depend."""
    wanted = {each.unless for each in expected_failures() if each.unless}
    probe = [sys.executable, str(ROOT / "hack" / "capabilities"), "--json", *sorted(wanted)]
    printed = subprocess.run(probe, capture_output=True, text=True, check=False).stdout
    return [name for name, lacking in json.loads(printed).items() if not lacking]


def _run(cluster: Cluster, programs: Path, backend: Backend, focus: str) -> Verdict:
    results = cache() / "storage-suite" / NAME  # runs on other clusters may go on at the same time
    results.mkdir(parents=True, exist_ok=True)
    ran = running.run(cluster, programs, backend, focus=focus, processes=PROCESSES, results=results)
    capabilities = _capabilities()
    expected = [each for each in expected_failures() if each.applies(backend.name, capabilities)]
    return verdict(backend.name, specs(ran.report), expected, whole=not focus, seconds=ran.seconds)


def _report(verdicts: list[Verdict]) -> None:
    """Print every backend's skips and problems, then its counts."""
    for each in verdicts:
        for reason, count in sorted(each.skipped.items(), key=lambda item: -item[1]):
            print(f"  {each.backend}: {count:3} skipped: {reason}")
        for problem in each.problems:
            print(f"  {each.backend}: {problem}")
    for each in verdicts:
        print(each, flush=True)


def main(words: list[str]) -> int:
    """Run the command line; return the exit code."""
    if words == ["--list"]:
        print("\n".join(BACKENDS))
        return 0
    if unknown := [word for word in words if word not in BACKENDS and word != "--build"]:
        print(f"storage-suite: unknown: {', '.join(unknown)}; there are: {', '.join(BACKENDS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    start = time.monotonic()
    programs = _build()
    if "--build" in words:
        print(programs)
        return 0
    verdicts: list[Verdict] = []
    try:
        with _cluster() as cluster:
            _prepare(cluster, programs)
            for name in words or BACKENDS:
                verdicts.append(_run(cluster, programs, BACKENDS[name], os.environ.get("FOCUS", "")))
                say(str(verdicts[-1]))
    finally:
        _report(verdicts)
        print(f"storage-suite: {time.monotonic() - start:.0f} s in all", flush=True)
    return 0 if all(each.good for each in verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, LookupError, ValueError, OSError) as error:
        sys.exit(f"storage-suite: {error}")
