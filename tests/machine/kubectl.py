"""Run kubectl with KUBECONFIG set as `mooring up` prints it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import programs


@dataclass(frozen=True)
class CommandResult:
    """The output and exit code of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl commands against one engine."""

    state: Path

    def _environment(self, **more: str) -> dict[str, str]:
        return os.environ | {"KUBECONFIG": str(self.state / "kubeconfig"), "HOME": str(self.state.parent)} | more

    def run(self, *arguments: str, text: str = "", **environment: str) -> CommandResult:
        """Run a command, and return its result whether it succeeds or fails."""
        done = subprocess.run(
            [programs.kubectl(), *arguments],
            input=text, text=True, capture_output=True, env=self._environment(**environment), timeout=120, check=False,
        )  # fmt: skip
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, text: str = "", **environment: str) -> str:
        """Run a command that must succeed; return its output."""
        result = self.run(*arguments, text=text, **environment)
        assert result.code == 0, f"kubectl {' '.join(arguments)}: {result.err}"
        return result.out

    def refused(self, *arguments: str, text: str = "") -> str:
        """Run a command that must fail; return its error message."""
        result = self.run(*arguments, text=text)
        assert result.code != 0, f"kubectl {' '.join(arguments)} succeeded: {result.out}"
        return result.err

    def json(self, *arguments: str) -> Any:
        """Run a command with `-o json`, and return the decoded output."""
        return json.loads(self(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """Run a command that prints a table; return the words of each row, without the heading."""
        return [line.split() for line in self(*arguments, "--no-headers").splitlines()]
