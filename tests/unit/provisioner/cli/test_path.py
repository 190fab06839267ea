"""`mooring path` prints only mounted volumes."""

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
    """Create a pod with one volume in a running engine, and return the volume's path, which does not exist yet."""
    (state / "pods/default/p").mkdir(parents=True)
    (state / "holder.json").write_text(json.dumps({"pid": os.getpid(), "rootless": False}), encoding="utf-8")
    (state / "pod.yaml").write_text(POD, encoding="utf-8")
    assert mooring("apply", "-f", str(state / "pod.yaml")).code == 0
    return state / "pods/default/p/d"


def test_a_directory_that_is_not_mounted_is_not_printed(mooring: Mooring, volume: Path) -> None:
    """The directory exists before the mount and after a failed one; data written to it then would be lost."""
    volume.mkdir()

    result = mooring("path", "p")

    assert (result.code, result.out) == (1, "")
    assert "volume d of pod p is not mounted now" in result.err
    assert mooring("path", "claim/data").code == 1


def test_a_mounted_volume_is_printed_also_if_it_is_a_device(
    mooring: Mooring, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw block volume is a device bind-mounted on a file, so it is in the mount table as a directory is."""
    volume.write_bytes(b"")
    monkeypatch.setattr(command, "_mount_points", lambda _: {str(volume)})

    assert mooring("path", "p").out == f"{volume}\n"
    assert mooring("path", "claim/data").out == f"{volume}\n"


def test_an_engine_that_does_not_run_has_no_mounts(mooring: Mooring, volume: Path) -> None:
    """Its mount namespace ended with the process."""
    volume.mkdir()
    holder = volume.parents[3] / "holder.json"
    holder.write_text(json.dumps({"pid": 2**22 + 1, "rootless": True}), encoding="utf-8")

    assert mooring("path", "p").code == 1


def test_escapes_in_the_mount_table_are_decoded() -> None:
    """Blanks and backslashes are octal numbers there."""
    assert command._unescaped(rb"/a\040b\134c") == "/a b\\c"
    assert "/proc" in command._mount_points("self")
