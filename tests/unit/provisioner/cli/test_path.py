"""`mooring path` prints only what is mounted now."""

import json
import os
from pathlib import Path

import pytest

from provisioner.cli.commands import path as command
from tests.unit.provisioner.cli.conftest import Mooring

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: i}], volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}
"""


@pytest.fixture
def volume(state: Path, mooring: Mooring) -> Path:
    """The path of the one volume of a pod, where nothing is yet, in an engine that is up."""
    (state / "pods/default/p").mkdir(parents=True)
    (state / "holder.json").write_text(json.dumps({"pid": os.getpid(), "rootless": False}), encoding="utf-8")
    (state / "pod.yaml").write_text(POD, encoding="utf-8")
    assert mooring("apply", "-f", str(state / "pod.yaml")).code == 0
    return state / "pods/default/p/d"


def test_a_directory_that_is_not_mounted_is_not_printed(mooring: Mooring, volume: Path) -> None:
    """It is there before its volume is mounted, and after a mount failed: who wrote there would lose what was written."""
    volume.mkdir()

    ran = mooring("path", "p")

    assert (ran.code, ran.out) == (1, "")
    assert "volume d of pod p is not mounted now" in ran.err
    assert mooring("path", "claim/data").code == 1


def test_what_is_mounted_is_printed_whatever_it_is(
    mooring: Mooring, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw volume is a device bound to a file; the mount table says that it is there, as for a directory."""
    volume.write_bytes(b"")
    monkeypatch.setattr(command, "_mount_points", lambda _: {str(volume)})

    assert mooring("path", "p").out == f"{volume}\n"
    assert mooring("path", "claim/data").out == f"{volume}\n"


def test_an_engine_that_is_gone_has_nothing_mounted(mooring: Mooring, volume: Path) -> None:
    """Its mount namespace went with it."""
    volume.mkdir()
    holder = volume.parents[3] / "holder.json"
    holder.write_text(json.dumps({"pid": 2**22 + 1, "rootless": True}), encoding="utf-8")

    assert mooring("path", "p").code == 1


def test_blanks_in_the_mount_table_are_undone() -> None:
    """The table writes them as octal numbers."""
    assert command._unescaped(rb"/a\040b\134c") == "/a b\\c"
    assert "/proc" in command._mount_points("self")
