"""The real csi-sanity against the real driver: every spec passes, or waits for a capability that is told."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.needs("root", "go")
@pytest.mark.parametrize("backend", ["directory", pytest.param("loop", marks=pytest.mark.needs("loop"))])
@pytest.mark.timeout(600)
def test_no_spec_fails_and_each_skipped_one_is_explained(backend: str) -> None:
    """hack/sanity ends with 0 only when that is so; its summary stands in the output."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "sanity"), backend], capture_output=True, text=True, check=False
    )
    print(done.stdout)  # noqa: T201 # shown with -rP, and when it fails

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
