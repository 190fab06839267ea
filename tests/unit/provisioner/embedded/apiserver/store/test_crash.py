"""A store whose process is killed while it writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import LEASE
from tests.programs import ROOT

WRITER = Path(__file__).with_name("crashing.py")


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """After kill -9 at any moment the store has every acknowledged write, and versions continue after the last one."""
    path = tmp_path / "engine.db"
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().decode().split() for _ in range(acknowledged)]
        child.kill()
        lines += [line.decode().split() for line in child.stdout if line.endswith(b"\n")]
    assert len(lines) >= acknowledged
    store = Store(path)
    try:
        last = {name: (state, version) for state, name, version in lines}
        objects, version = store.snapshot(LEASE)
        for name, (state, written) in last.items():
            assert int(written) <= version
            if state == "deleted":
                assert ("default", name) not in objects
            elif name != lines[-1][1]:
                assert objects["default", name]["metadata"]["resourceVersion"] == written
        created = store.create(LEASE, "default", {"metadata": {"name": "after"}}).object
        assert int(created["metadata"]["resourceVersion"]) == version + 1
    finally:
        store.close()
