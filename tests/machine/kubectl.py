"""kubectl, as a person has it who set KUBECONFIG to what `mooring up` says."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import programs


@dataclass(frozen=True)
class CommandResult:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """Commands against one engine."""

    state: Path

    def _environment(self, **more: str) -> dict[str, str]:
        return os.environ | {"KUBECONFIG": str(self.state / "kubeconfig"), "HOME": str(self.state.parent)} | more

    def run(self, *arguments: str, text: str = "", **environment: str) -> CommandResult:
        """One command, however it ends."""
        done = subprocess.run(
            [programs.kubectl(), *arguments],
            input=text, text=True, capture_output=True, env=self._environment(**environment), timeout=120, check=False,
        )  # fmt: skip
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, text: str = "", **environment: str) -> str:
        """One command that must go well; what it printed."""
        said = self.run(*arguments, text=text, **environment)
        assert said.code == 0, f"kubectl {' '.join(arguments)}: {said.err}"
        return said.out

    def refused(self, *arguments: str, text: str = "") -> str:
        """One command that must fail; its complaint."""
        said = self.run(*arguments, text=text)
        assert said.code != 0, f"kubectl {' '.join(arguments)} went well: {said.out}"
        return said.err

    def json(self, *arguments: str) -> Any:
        """One command that prints JSON."""
        return json.loads(self(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """The words of each line of a table without its heading."""
        return [line.split() for line in self(*arguments, "--no-headers").splitlines()]
