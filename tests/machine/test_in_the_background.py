"""Tests of `mooring up --detach`, and of the README's commands as a new user pastes them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.machine.engine_process import EngineProcess

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def pasted(tmp_path: Path) -> Iterator[tuple[EngineProcess, dict[str, str]]]:
    """An engine that the pasted commands start, and their environment."""
    engine = EngineProcess(tmp_path / "s")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        yield engine, os.environ | {"MOORING_STATE": str(engine.state), "KUBECONFIG": "/none", "PATH": path}
    finally:
        with contextlib.suppress(FileNotFoundError):
            pid = json.loads((engine.state / "holder.json").read_bytes())["pid"]
            os.kill(pid, signal.SIGTERM)
            engine.until(lambda: not _runs(pid), "the engine in the background has ended")
        for mount in reversed(engine.remains()["mounts"]):
            subprocess.run(["umount", "--lazy", mount], check=False)


def _runs(pid: int) -> bool:
    """Report whether the process runs: one that has ended has an empty command line until its parent waits for it."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def _run(environment: dict[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)


def test_the_commands_of_the_readme_can_be_pasted_at_once(pasted: tuple[EngineProcess, dict[str, str]]) -> None:
    """Each exits with 0 without waiting for input, and all use the engine that the first one started."""
    engine, environment = pasted
    block = re.search(r"```\n(mooring up.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    assert shutil.which("mooring", path=environment["PATH"])

    done = _run(environment, "bash", "-e", "-c", block[1])

    assert done.returncode == 0, done.stderr
    assert f"KUBECONFIG={engine.state}/kubeconfig" in done.stderr
    assert f"{engine.state}/pods/default/web-0/www" in done.stdout.splitlines()
    again = _run(environment, "mooring", "up", "--detach")
    assert (again.returncode, again.stderr.count("another engine already runs")) == (78, 1)
