"""Kubernetes' own code as a process that answers questions; see hack/oracle."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


class Upstream:
    """Ask one thing at a time; `cases` counts them."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.cases = 0
        self.ask("quantity", A="1")  # whoever lists this run's processes finds it from now on

    def ask(self, op: str, **facts: Any) -> dict[str, Any]:
        """The answer: `volume`, `volumes`, `error`, `yes`, `number` or `seconds`, what is empty left out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"Op": op, **facts}) + "\n")
        self._process.stdin.flush()
        self.cases += 1
        line = self._process.stdout.readline()
        assert line, f"the oracle could not read its question about {op}: {facts}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """It ends with its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def build() -> Path:
    """The program, built when it is not cached."""
    done = subprocess.run([ROOT / "hack/go-tool", "oracle"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())
