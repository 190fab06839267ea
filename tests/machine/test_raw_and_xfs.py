"""The other kinds of volume on the real machine, as the example has them: a raw device beside an xfs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.machine.engine_process import CLAIMS, SETS, EngineProcess

pytestmark = pytest.mark.needs("root", "loop", "xfs")
NAMES = ("raw-disk-0", "files-disk-0")


def _apply(engine: EngineProcess) -> None:
    subprocess.run(
        [sys.executable, "-m", "provisioner.cli.main", "apply", "-f", str(ROOT / "examples/raw-block.yaml")],
        env=os.environ | {"MOORING_STATE": str(engine.state)},
        check=True,
        capture_output=True,
    )
    engine.ready_pods("disk-0")


def _path(engine: EngineProcess, volume: str) -> Path:
    """What `mooring path` prints."""
    argv = [sys.executable, "-m", "provisioner.cli.main", "path", "disk-0", volume, "--state", str(engine.state)]
    return Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())


def test_a_raw_device_and_an_xfs_are_adopted_by_their_ordinal(engine: EngineProcess) -> None:
    """Both grow while they are in use, and both are there again after set and claims were deleted and applied anew."""
    _apply(engine)
    places = engine.state / "pods/default/disk-0"
    (places / "files/token").write_text("mine", encoding="utf-8")
    with _path(engine, "raw").open("rb+") as device:
        device.write(b"raw and mine")
    for name in NAMES:
        engine.patch(f"{CLAIMS}/{name}", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}})
    for name in NAMES:
        engine.until(
            lambda name=name: "1Gi" == engine.get(f"{CLAIMS}/{name}")["status"]["capacity"]["storage"],  # type: ignore[misc]
            f"{name} has grown",
        )
    with (places / "raw").open("rb") as device:
        assert device.seek(0, os.SEEK_END) == 1 << 30
    found = os.statvfs(places / "files")
    assert found.f_blocks * found.f_frsize > 900 << 20

    engine.delete(f"{SETS}/disk")
    engine.until(lambda: not places.exists(), "the pod is gone")
    for name in NAMES:
        engine.delete(f"{CLAIMS}/{name}")
    engine.until(lambda: not engine.names(CLAIMS), "the claims are gone")
    _apply(engine)

    assert (places / "files/token").read_text(encoding="utf-8") == "mine"
    with (places / "raw").open("rb") as device:
        assert device.read(12) == b"raw and mine"
