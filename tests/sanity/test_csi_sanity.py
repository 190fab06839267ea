"""csi-sanity against the driver: every spec passes, or is skipped for a capability that hack/sanity names."""

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
    """The exit code of hack/sanity is 0 only in this case; its summary is in the output."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "sanity"), configuration], capture_output=True, text=True, check=False
    )
    print(done.stdout)  # noqa: T201 # shown with -rP, and when it fails

    assert done.returncode == 0, done.stdout + done.stderr
    assert "73 passed, 0 failed, 30 skipped" in done.stdout
