"""Programs that tests run, and that hack/go-tool builds once, outside the checkout."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

BUILD_SECONDS: Final = 1200
"""Time limit in seconds of a test that may be the first to build a program, on two slow cores."""


def kubectl() -> str:
    """Return the path of the upstream kubectl."""
    return _built("kubectl")


def helm() -> str:
    """Return the path of the upstream helm."""
    return _built("helm")


@cache
def _built(tool: str) -> str:
    built = subprocess.run([str(ROOT / "hack" / "go-tool"), tool], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()
