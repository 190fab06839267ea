"""Tests of the example raw-block.yaml on the real machine: a raw block volume and an xfs volume in one pod."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.machine.engine_process import CLAIMS, SETS, EngineProcess

pytestmark = pytest.mark.needs("root", "loop", "xfs")
NAMES = ("raw-disk-0", "files-disk-0")


def _apply(engine: EngineProcess) -> None:
    applied = engine.mooring("apply", "-f", str(ROOT / "examples/raw-block.yaml"))
    assert applied.returncode == 0, applied.stderr
    engine.ready_pods("disk-0")


def _path(engine: EngineProcess, volume: str) -> Path:
    """Return what `mooring path` prints for a volume of the pod."""
    found = engine.mooring("path", "disk-0", volume)
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


def test_a_raw_device_and_an_xfs_are_adopted_by_their_ordinal(engine: EngineProcess) -> None:
    """Both are expanded while in use, and adopted after set and claims are deleted and applied again."""
    _apply(engine)
    pod_directory = engine.state / "pods/default/disk-0"
    (pod_directory / "files/token").write_text("own file", encoding="utf-8")
    with _path(engine, "raw").open("rb+") as device:
        device.write(b"own raw data")
    for name in NAMES:
        engine.patch(f"{CLAIMS}/{name}", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}})
    for name in NAMES:
        engine.until(
            lambda name=name: "1Gi" == engine.get(f"{CLAIMS}/{name}")["status"]["capacity"]["storage"],  # type: ignore[misc]
            f"{name} is expanded",
        )
    with (pod_directory / "raw").open("rb") as device:
        assert device.seek(0, os.SEEK_END) == 1 << 30
    found = os.statvfs(pod_directory / "files")
    assert found.f_blocks * found.f_frsize > 900 << 20

    engine.delete(f"{SETS}/disk")
    engine.until(lambda: not pod_directory.exists(), "the pod is deleted")
    for name in NAMES:
        engine.delete(f"{CLAIMS}/{name}")
    engine.until(lambda: not engine.names(CLAIMS), "the claims are deleted")
    _apply(engine)

    assert (pod_directory / "files/token").read_text(encoding="utf-8") == "own file"
    with (pod_directory / "raw").open("rb") as device:
        assert device.read(12) == b"own raw data"
