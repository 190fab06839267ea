"""
Find and control the processes of a running cluster, from outside its namespaces.

The process tree is the only record: the cluster is the process `unshare` whose id is in the folder, its child is the
control plane's machine.py, whose children are the components; a node is one of them, again an `unshare` with a
machine.py below.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster.place import CONTROL_PLANE, Cluster, Machine

WAIT_SECONDS: Final = 30.0
NEW: Final = ("--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
"""The namespaces that every machine has, besides the network namespace."""


def children(parent: int) -> list[int]:
    """Return the running children of a process."""
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in everyone if _parent_and_state(pid) == (parent, True)]


def _parent_and_state(pid: int) -> tuple[int, bool]:
    """Return the parent of a process, and whether it runs; (0, False) when there is no such process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, False
    return int(after_name[1]), after_name[0] not in "ZX"


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def root_process(cluster: Cluster) -> int | None:
    """Return the first process of the cluster; None when the cluster is not running."""
    try:
        pid = int((cluster.folder / "pid").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    lives = _parent_and_state(pid)[1] and str(cluster.control_plane.folder) in _words(pid)
    return pid if lives else None


def until(what: str, check: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"timed out after {seconds:.0f} s: {what}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Inside:
    """One machine of a running cluster."""

    cluster: Cluster
    machine: Machine

    @property
    def first(self) -> int:
        """The machine's first process, by its id on the host."""
        holder = root_process(self.cluster)
        if holder is not None and self.machine.name != CONTROL_PLANE:
            holder = Inside(self.cluster, self.cluster.control_plane).components().get(self.machine.name)
        of_holder = children(holder) if holder is not None else []
        if not of_holder:
            raise LookupError(f"{self.machine.name} of cluster {self.cluster.name} is off; 'make cluster' starts it")
        return of_holder[0]

    @property
    def root(self) -> Path:
        """The root directory of the machine with its mounts; valid until it is powered off."""
        return Path(f"/proc/{self.first}/root")

    def components(self) -> dict[str, int]:
        """Return component → process of the running components; nodes by their folders, others by their programs."""
        defined = json.loads(self.machine.definition.read_text(encoding="utf-8"))["run"]
        running = {}
        for pid in children(self.first):
            words = _words(pid)
            if names := {Path(word).name for word in (words[:1] + words[-1:])} & set(defined):
                running[names.pop()] = pid
        return running

    def kill(self, component: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a component, by default SIGKILL. It is restarted a second later."""
        running = self.components()
        if component not in running:
            there = ", ".join(sorted(running))
            raise LookupError(f"{component} is not running on {self.machine.name}; running are {there}")
        os.kill(running[component], number)
        until(f"{component} ends", lambda: self.components().get(component) != running[component])

    def stop(self, component: str) -> None:
        """Kill a component, and do not restart it."""
        (self.machine.stopped / component).touch()
        if component in self.components():
            self.kill(component)

    def start(self, component: str) -> None:
        """Start a stopped component."""
        (self.machine.stopped / component).unlink(missing_ok=True)
        until(f"{component} runs on {self.machine.name}", lambda: component in self.components())

    def restart(self, component: str) -> None:
        """Terminate a component, as an upgrade does, and wait until it is restarted."""
        self.kill(component, signal.SIGTERM)
        self.start(component)

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs another one on the machine."""
        return ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "--uts", "--ipc", *argv]

    def run(self, *argv: str, stdin: bytes = b"") -> str:
        """Run a command on the machine as root, and return what it prints."""
        done = subprocess.run(
            self.enter(argv), input=stdin, capture_output=True, env=self.cluster.environment, check=False
        )
        if done.returncode != 0:
            complaint = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"on {self.machine.name}, {' '.join(argv)} ended with {done.returncode}: {complaint}")
        return done.stdout.decode(errors="replace")


def node_command(machine: Machine, network: str) -> list[str]:
    """Return the command that starts a node, run on the control plane."""
    return ["nsenter", f"--net={network}", "unshare", *NEW, *_first_process(machine)]


def _first_process(machine: Machine) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__).parent / "machine.py"), str(machine.folder)]


def switch_on(cluster: Cluster, plug_in: Callable[[int], None]) -> None:
    """Start the control plane, and with it the nodes, once the cable to its network namespace is plugged in."""
    with (cluster.folder / "control-plane.log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--net", *NEW, *_first_process(cluster.control_plane)],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=cluster.environment, start_new_session=True,
        )  # fmt: skip
    (cluster.folder / "pid").write_text(str(process.pid), encoding="ascii")
    until("the first process runs", lambda: bool(children(process.pid)) or process.poll() is not None)
    if process.poll() is not None:
        raise RuntimeError(f"the cluster's first process ended at once; see {cluster.folder}/control-plane.log")
    plug_in(children(process.pid)[0])
    if process.stdin is not None:
        process.stdin.close()
    process.returncode = 0  # it runs on after this process


def switch_off(cluster: Cluster) -> None:
    """End every process of the cluster, and with them its mounts and networks."""
    pid = root_process(cluster)
    if pid is None:
        return
    inner = children(pid)
    for each in (*inner, pid):
        os.kill(each, signal.SIGKILL)
    until("the cluster's processes end", lambda: not any(_parent_and_state(each)[1] for each in (*inner, pid)))
