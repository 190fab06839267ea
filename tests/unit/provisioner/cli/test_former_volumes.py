"""The commands for former volumes: history, adopt, release and forget."""

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
    """Create an unbound claim and its former volume, and return the volume's name."""
    owners = [
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
        "metadata": {"name": "pv", "annotations": {HISTORY: history.write(owners)}},
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


def test_history_lists_the_claims_of_a_volume_and_until_when(mooring: Mooring, former: str) -> None:
    """The name is that of the pod or of the claim; the output is a table or data."""
    lines = mooring("history", "web-0").out.splitlines()
    data = json.loads(mooring("history", "www-web-0", "-o", "json").out)

    assert lines[0].split() == ["CLAIM", "VOLUME", "FROM", "UNTIL", "CLAIM", "UID"]
    assert lines[1].split() == ["www-web-0", former, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "a"]
    assert [(each["claimUID"], each["until"]) for each in data] == [("a", "2026-01-02T00:00:00Z"), ("b", "")]
    assert mooring("history", "web-7").code == 1


def test_adopt_points_the_volume_at_the_claim(mooring: Mooring, former: str) -> None:
    """A dry run prints the same and changes nothing."""
    dry = mooring("adopt", "www-web-0", "--dry-run")
    assert (dry.code, dry.out) == (0, f"volume {former} adopted by claim default/www-web-0 (dry run)\n")
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
def test_a_claim_that_requests_more_adopts_its_former_volume_only_if_its_class_expands_it(
    mooring: Mooring, former: str, tmp_path: Path, expands: bool
) -> None:
    """The volume is marked for the claim, and the controller expands it first; else the error shows what to change."""
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


def test_a_released_volume_is_marked_and_can_be_adopted(mooring: Mooring, former: str) -> None:
    """Its claimRef stays, so that no other claim is bound to it."""
    assert mooring("release", former, "--dry-run").code == 0
    assert RELEASED not in _volume(mooring)["metadata"]["annotations"]

    assert mooring("release", former).code == 0
    assert RELEASED in _volume(mooring)["metadata"]["annotations"]
    assert _volume(mooring)["spec"]["claimRef"]["name"] == "www-web-0"
    assert mooring("adopt", "www-web-0", "--volume", former).code == 0
    assert RELEASED not in _volume(mooring)["metadata"]["annotations"]
    assert mooring("release", former).code == 1, "the claim is bound to it"


def test_a_released_volume_reserved_by_name_is_not_bound_to_that_name(
    mooring: Mooring, former: str, tmp_path: Path
) -> None:
    """Kubernetes binds a volume whose claimRef has no UID to the next claim of that name."""
    reserved = json.loads(mooring("get", "pv", former, "-o", "json").out)
    del reserved["spec"]["claimRef"]["uid"]
    file = tmp_path / "reserved.yaml"
    file.write_text(yaml.safe_dump({**reserved, "metadata": {"name": "reserved"}}), encoding="utf-8")
    assert mooring("apply", "-f", str(file)).code == 0

    assert mooring("release", "reserved").code == 0
    released = json.loads(mooring("get", "pv", "reserved", "-o", "json").out)
    assert released["spec"]["claimRef"]["uid"] == RELEASED_UID
    assert mooring("adopt", "www-web-0", "--volume", "reserved").code == 0


def test_forget_marks_the_claim_with_its_own_uid(mooring: Mooring, former: str) -> None:
    """The output names the former volume, which stays unchanged."""
    printed = mooring("forget", "www-web-0")
    claim = json.loads(mooring("get", "pvc", "www-web-0", "-o", "json").out)

    assert printed.out == f"claim default/www-web-0 gets a new volume; unchanged: {former}\n"
    assert claim["metadata"]["annotations"][FORGET] == claim["metadata"]["uid"]


@pytest.fixture
def of_set(mooring: Mooring, former: str, tmp_path: Path) -> str:
    """Create the claim's StatefulSet and a second claim of it without a former volume; return the set's name."""
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


def test_adopt_all_adopts_for_the_claims_of_a_set(mooring: Mooring, former: str, of_set: str) -> None:
    """A claim of the set without a former volume is omitted, and so are other claims."""
    dry = mooring("adopt", "--all", of_set, "--dry-run")
    assert (dry.code, dry.out) == (0, f"volume {former} adopted by claim default/www-web-0 (dry run)\n")
    assert mooring("adopt", of_set, "--all", "--volume", former).code == 2

    assert mooring("adopt", "--all", of_set).code == 0
    claim = json.loads(mooring("get", "pvc", "www-web-0", "-o", "json").out)
    assert _volume(mooring)["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    again = mooring("adopt", "--all", of_set)
    assert (again.code, "no unbound claim" in again.err) == (1, True)


def test_forget_all_marks_the_claims_of_a_set_without_a_volume(mooring: Mooring, former: str, of_set: str) -> None:
    """Each annotation is the UID of its claim; a set that does not exist is an error."""
    printed = mooring("forget", "--all", of_set)
    claims = {each["metadata"]["name"]: each["metadata"] for each in _claims(mooring)}

    assert printed.code == 0
    assert printed.out.splitlines()[0] == f"claim default/www-web-0 gets a new volume; unchanged: {former}"
    marked = {name for name, each in claims.items() if (each.get("annotations") or {}).get(FORGET) == each["uid"]}
    assert marked == {"www-web-0", "www-web-1"}
    assert mooring("forget", "--all", "nothing").code == 1


def _claims(mooring: Mooring) -> list[Any]:
    found: list[Any] = json.loads(mooring("get", "pvc", "-o", "json").out)["items"]
    return found


def _volume(mooring: Mooring) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(mooring("get", "pv", "pv", "-o", "json").out)
    return found
