"""
The first process of a machine: it prepares the machine, then keeps its components running until it is killed.

A machine is a set of namespaces, defined by a file: `prepare`, commands that run one after the other and must succeed,
and `run`, the components by name. A component that ends is restarted a second later, unless there is a file of its name
in the folder `stopped`. When this process ends, the kernel ends every other process in its PID namespace and removes
every mount in its mount namespace, so killing it powers the machine off.

It imports only the standard library, so that it starts fast and needs no virtual environment.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.1
AGAIN_SECONDS = 1.0


def _start(argv: list[str], log: Path) -> int:
    """Start a component in a session of its own, with its output appended to its log; return its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    process.returncode = 0  # the loop below reaps it; Popen must not
    return process.pid


def _ended() -> set[int]:
    """Reap every process that has ended, orphans of components included."""
    ended = set()
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.add(pid)
    return ended


def main(folder: Path) -> None:
    """Prepare the machine, then keep its components running until killed."""
    sys.stdin.read()  # closed by the parent once the machine's cables are in place
    definition = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    for argv in definition["prepare"]:
        subprocess.run(argv, check=True)
    components: dict[str, list[str]] = definition["run"]
    running: dict[str, int] = {}
    not_before = dict.fromkeys(components, 0.0)
    while True:
        ended = _ended()
        for name in [name for name, pid in running.items() if pid in ended]:
            del running[name]
            not_before[name] = time.monotonic() + AGAIN_SECONDS
        for name, argv in components.items():
            wanted = not (folder / "stopped" / name).exists()
            if wanted and name not in running and time.monotonic() >= not_before[name]:
                running[name] = _start(argv, folder / "logs" / f"{name}.log")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
