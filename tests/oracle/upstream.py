"""Upstream's code as a process that evaluates cases; see hack/oracle."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


class Upstream:
    """A process that evaluates one case at a time; `cases` is their number."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.cases = 0
        self.ask("quantity", A="1")  # wait until it runs, so that a list of this run's processes contains it

    def ask(self, op: str, **facts: Any) -> dict[str, Any]:
        """Return `volume`, `volumes`, `error`, `yes`, `number` or `seconds`; empty ones are omitted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"Op": op, **facts}) + "\n")
        self._process.stdin.flush()
        self.cases += 1
        line = self._process.stdout.readline()
        assert line, f"the oracle could not read the case {op}: {facts}"
        result: dict[str, Any] = json.loads(line)
        return result

    def close(self) -> None:
        """Close its standard input, which ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def build() -> Path:
    """Return the path of the program, and build it when it is not cached."""
    done = subprocess.run([ROOT / "hack/go-tool", "oracle"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())
