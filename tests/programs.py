"""Programs that tests run and the machine need not have: hack/go-tool builds them once, outside the checkout."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

BUILD_SECONDS: Final = 1200
"""How long a test may take that is the first to need a program, on two slow cores."""


def kubectl() -> str:
    """The path of the ordinary kubectl."""
    return _built("kubectl")


def helm() -> str:
    """The path of the ordinary helm."""
    return _built("helm")


@cache
def _built(tool: str) -> str:
    built = subprocess.run([str(ROOT / "hack" / "go-tool"), tool], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()
