"""The object store is lost, and the disks are not."""

import json
import os
import subprocess
import sys

import pytest

from tests.machine.living import CLAIMS, SETS, VOLUMES, Living, stateful_set

pytestmark = pytest.mark.needs("root")


def _mooring(engine: Living, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "provisioner.cli.main", *arguments, "--state", str(engine.state)]
    environment = {key: value for key, value in os.environ.items() if key != "KUBERNETES_SERVICE_HOST"}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_disks_alone_give_every_ordinal_its_file_again(engine: Living) -> None:
    """The claims made anew wait instead of getting empty volumes, and have their own after one command."""
    engine.create(SETS, stateful_set())
    engine.ready_pods("web-0", "web-1")
    for name in ("web-0", "web-1"):
        engine.file(name).write_text(name, encoding="utf-8")
    before = engine.names(VOLUMES)
    assert engine.stop() == 0
    for part in engine.state.glob("engine.db*"):
        part.unlink()
    engine.start()
    engine.create(SETS, stateful_set())
    engine.until(lambda: engine.names(CLAIMS), "the first claim is there")
    engine.until(
        lambda: any(each["reason"] == "FormerVolumeBlocked" for each in engine.get("/api/v1/events")["items"]),
        "the claim says what it waits for",
    )

    looked = _mooring(engine, "recover", "-o", "json")
    assert looked.returncode == 0, looked.stderr
    shown = json.loads(looked.stdout)
    assert sorted(each["volume"] for each in shown) == before
    assert {each["result"] for each in shown} == {"can be restored"}
    assert engine.names(VOLUMES) == [], "a look changes nothing"
    done = _mooring(engine, "recover", "--from-cluster", shown[0]["cluster"])
    assert done.returncode == 0, done.stderr

    engine.ready_pods("web-0", "web-1")
    assert engine.names(VOLUMES) == before
    for name in ("web-0", "web-1"):
        assert engine.file(name).read_text(encoding="utf-8") == name
    again = _mooring(engine, "recover")
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing is to be recovered" in again.stderr
    unknown = _mooring(engine, "recover", "--from-cluster", "no-such")
    assert unknown.returncode == 1
    assert "no-such" in unknown.stderr
