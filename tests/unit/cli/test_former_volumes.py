"""The commands by which an admin decides about former volumes."""

import json
from pathlib import Path

import pytest
import yaml

from provisioner.model import history
from provisioner.model.history import Held
from provisioner.model.names import DRIVER, FORGET, HISTORY, RELEASED, RELEASED_UID
from tests.unit.cli.conftest import Mooring

POOL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def former(mooring: Mooring, tmp_path: Path) -> str:
    """A waiting claim, and a volume that an earlier claim of its name had; the volume's name."""
    held = [
        Held("default", "www-web-0", uid, "web", "0", f"2026-01-0{day}T00:00:00Z") for day, uid in ((1, "a"), (2, "b"))
    ]
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "www-web-0"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pv", "annotations": {HISTORY: history.write(held)}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "storageClassName": "fast",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "default", "name": "www-web-0", "uid": "b"},
            "csi": {"driver": DRIVER, "volumeHandle": f"{POOL}.pv"},
        },
    }
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all([claim, volume]), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0
    return "pv"


def test_history_tells_who_had_the_volume_and_until_when(mooring: Mooring, former: str) -> None:
    """By the pod's name and by the claim's, as a table and as data."""
    lines = mooring("history", "web-0").out.splitlines()
    data = json.loads(mooring("history", "www-web-0", "-o", "json").out)

    assert lines[0].split() == ["CLAIM", "VOLUME", "FROM", "UNTIL", "CLAIM", "UID"]
    assert lines[1].split() == ["www-web-0", former, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "a"]
    assert [(each["claimUID"], each["until"]) for each in data] == [("a", "2026-01-02T00:00:00Z"), ("b", "")]
    assert mooring("history", "web-7").code == 1


def test_adopt_points_the_volume_at_the_claim(mooring: Mooring, former: str) -> None:
    """A dry run only says so."""
    dry = mooring("adopt", "www-web-0", "--dry-run")
    assert (dry.code, dry.out) == (0, f"volume {former} given to claim default/www-web-0 (dry run)\n")
    assert _volume(mooring)["spec"]["claimRef"]["uid"] == "b"

    assert mooring("adopt", "www-web-0").code == 0
    claim = json.loads(mooring("get", "pvc", "www-web-0", "-o", "json").out)
    assert _volume(mooring)["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


def test_a_released_volume_is_marked_and_can_be_given_back(mooring: Mooring, former: str) -> None:
    """Its claimRef stays, so that nobody else gets it."""
    assert mooring("release", former, "--dry-run").code == 0
    assert RELEASED not in _volume(mooring)["metadata"]["annotations"]

    assert mooring("release", former).code == 0
    assert RELEASED in _volume(mooring)["metadata"]["annotations"]
    assert _volume(mooring)["spec"]["claimRef"]["name"] == "www-web-0"
    assert mooring("adopt", "www-web-0", "--volume", former).code == 0
    assert RELEASED not in _volume(mooring)["metadata"]["annotations"]
    assert mooring("release", former).code == 1, "the claim has it now"


def test_a_volume_reserved_by_name_alone_is_kept_from_that_name(mooring: Mooring, former: str, tmp_path: Path) -> None:
    """The binder would give it to the next claim that bears it."""
    reserved = json.loads(mooring("get", "pv", former, "-o", "json").out)
    del reserved["spec"]["claimRef"]["uid"]
    file = tmp_path / "reserved.yaml"
    file.write_text(yaml.safe_dump({**reserved, "metadata": {"name": "reserved"}}), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0

    assert mooring("release", "reserved").code == 0
    kept = json.loads(mooring("get", "pv", "reserved", "-o", "json").out)
    assert kept["spec"]["claimRef"]["uid"] == RELEASED_UID
    assert mooring("adopt", "www-web-0", "--volume", "reserved").code == 0


def test_forget_marks_the_claim_with_its_own_uid(mooring: Mooring, former: str) -> None:
    """And names what is left behind."""
    said = mooring("forget", "www-web-0")
    claim = json.loads(mooring("get", "pvc", "www-web-0", "-o", "json").out)

    assert said.out == f"claim default/www-web-0 gets a new volume; left as they are: {former}\n"
    assert claim["metadata"]["annotations"][FORGET] == claim["metadata"]["uid"]


def _volume(mooring: Mooring) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(mooring("get", "pv", "pv", "-o", "json").out)
    return found
