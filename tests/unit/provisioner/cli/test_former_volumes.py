"""The commands by which an admin decides about former volumes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.names import DRIVER, FORGET, HISTORY, IMPORTED_UID, RELEASED, RELEASED_UID
from tests.unit.provisioner.cli.conftest import Mooring

POOL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def former(mooring: Mooring, tmp_path: Path) -> str:
    """A waiting claim, and a volume that an earlier claim of its name had; the volume's name."""
    held = [
        Owner("default", "www-web-0", uid, "web", "0", f"2026-01-0{day}T00:00:00Z") for day, uid in ((1, "a"), (2, "b"))
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


def _class(name: str, *, expands: bool) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": DRIVER,
        "reclaimPolicy": "Retain",
        "allowVolumeExpansion": expands,
        "parameters": {"adopt": "Ordinal"},
    }


@pytest.mark.parametrize("expands", [True, False])
def test_a_claim_that_asks_for_more_is_given_its_former_volume_where_its_class_expands_it(
    mooring: Mooring, former: str, tmp_path: Path, expands: bool
) -> None:
    """The volume is marked as given, and the controller expands it before it changes hands; else the way out is told."""
    file = tmp_path / "class.yaml"
    file.write_text(yaml.safe_dump(_class("fast", expands=expands)), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0
    volume = json.loads(mooring("get", "pv", former, "-o", "json").out)
    volume["spec"]["capacity"]["storage"] = "1Mi"
    file.write_text(yaml.safe_dump(volume), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0

    adopted = mooring("adopt", "www-web-0")
    uid = _volume(mooring)["spec"]["claimRef"]["uid"]
    assert (adopted.code, uid) == ((0, IMPORTED_UID) if expands else (1, "b"))
    assert expands or "allowVolumeExpansion: true" in adopted.err


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


@pytest.fixture
def of_set(mooring: Mooring, former: str, tmp_path: Path) -> str:
    """The set that the waiting claim is of, with a second claim of it that never had a volume; the set's name."""
    template = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    labels = {"app": "web"}
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "web",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": template}],
        },
    }
    others = [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": template}
        for name in ("www-web-1", "www-other-0")
    ]
    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump_all([stateful_set, *others]), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0
    assert former
    return "web"


def test_adopt_all_gives_the_claims_of_a_set_theirs(mooring: Mooring, former: str, of_set: str) -> None:
    """A claim of the set that never had a volume is left out, and so are those of others."""
    dry = mooring("adopt", "--all", of_set, "--dry-run")
    assert (dry.code, dry.out) == (0, f"volume {former} given to claim default/www-web-0 (dry run)\n")
    assert mooring("adopt", of_set, "--all", "--volume", former).code == 2

    assert mooring("adopt", "--all", of_set).code == 0
    claim = json.loads(mooring("get", "pvc", "www-web-0", "-o", "json").out)
    assert _volume(mooring)["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    again = mooring("adopt", "--all", of_set)
    assert (again.code, "no waiting claim" in again.err) == (1, True)


def test_forget_all_marks_the_claims_of_a_set_that_wait(mooring: Mooring, former: str, of_set: str) -> None:
    """Each with its own UID; a set that does not exist is an error."""
    said = mooring("forget", "--all", of_set)
    claims = {each["metadata"]["name"]: each["metadata"] for each in _claims(mooring)}

    assert said.code == 0
    assert said.out.splitlines()[0] == f"claim default/www-web-0 gets a new volume; left as they are: {former}"
    marked = {name for name, each in claims.items() if (each.get("annotations") or {}).get(FORGET) == each["uid"]}
    assert marked == {"www-web-0", "www-web-1"}
    assert mooring("forget", "--all", "nothing").code == 1


def _claims(mooring: Mooring) -> list[Any]:
    found: list[Any] = json.loads(mooring("get", "pvc", "-o", "json").out)["items"]
    return found


def _volume(mooring: Mooring) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(mooring("get", "pv", "pv", "-o", "json").out)
    return found
