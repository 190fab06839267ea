"""The real csi-sanity against the real driver: every spec passes, or waits for a capability that is told."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CONFIGURATIONS = {
    "directory-on-ext4": (),
    "directory-on-btrfs": ("btrfs",),
    "loop-ext4": (),
    "loop-xfs": ("xfs",),
    "loop-btrfs": ("btrfs",),
    "loop-block": (),
}


@pytest.mark.needs("root", "go", "loop")
@pytest.mark.parametrize(
    "configuration", [pytest.param(name, marks=pytest.mark.needs(*more)) for name, more in CONFIGURATIONS.items()]
)
@pytest.mark.timeout(600)
def test_no_spec_fails_and_each_skipped_one_is_explained(configuration: str) -> None:
    """hack/sanity ends with 0 only when that is so; its summary stands in the output."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "sanity"), configuration], capture_output=True, text=True, check=False
    )
    print(done.stdout)  # noqa: T201 # shown with -rP, and when it fails

    assert done.returncode == 0, done.stdout + done.stderr
    assert "73 passed, 0 failed, 30 skipped" in done.stdout
