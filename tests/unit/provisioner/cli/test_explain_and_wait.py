"""`mooring explain` and `mooring wait` on objects that are being deleted, refused, or have the name of former ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.model.names import DRIVER, LAST_REFUSAL
from tests.unit.provisioner.cli.conftest import Mooring


@pytest.fixture
def claim(mooring: Mooring, tmp_path: Path) -> dict[str, Any]:
    """A claim of an Immediate class, and a volume that is bound to nothing."""
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "now", "resources": {"requests": {"storage": "1Mi"}}}
    objects = [
        {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "now"}, "provisioner": DRIVER},
        {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "c"}, "spec": spec},
    ]
    _apply(mooring, tmp_path, *objects)
    found: dict[str, Any] = json.loads(mooring("get", "pvc", "c", "-o", "json").out)
    return found


def _apply(mooring: Mooring, tmp_path: Path, *objects: dict[str, Any]) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    ran = mooring("apply", "-f", str(file))
    assert ran.code == 0, ran.err


def _event(uid: str, message: str, *, name: str, warning: bool = True, last: str = "1") -> dict[str, Any]:
    about = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "name": "c", "namespace": "default", "uid": uid}
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": about,
        "type": "Warning" if warning else "Normal",
        "reason": "FormerVolumeBlocked",
        "message": message,
        "reportingComponent": "mooring-controller",
        "lastTimestamp": f"2026-01-01T00:00:0{last}Z",
    }


def test_events_of_a_former_object_of_the_name_are_not_its_own(
    mooring: Mooring, tmp_path: Path, claim: dict[str, Any]
) -> None:
    """They are told apart by the UID; the newest of its own says why no volume is created."""
    uid = claim["metadata"]["uid"]
    _apply(mooring, tmp_path, _event("former", "theirs", name="a", last="9"), _event(uid, "mine", name="b"))

    told = mooring("explain", "claim", "c").out
    assert "theirs" not in told
    assert "it has no volume yet: mine" in told
    _apply(mooring, tmp_path, _event(uid, "made", name="d", warning=False, last="5"))
    assert "it has no volume yet" not in mooring("explain", "claim", "c").out


def test_what_is_being_deleted_is_not_ready_nor_bound(mooring: Mooring, claim: dict[str, Any]) -> None:
    """The table says Terminating, explain says what it waits for, and wait does not end with 0."""
    assert mooring("delete", "pvc", claim["metadata"]["name"], "--no-wait").code == 0

    assert "Terminating" in mooring("get", "pvc", "c").out
    told = mooring("explain", "claim", "c")
    assert (told.code, told.out.splitlines()[0]) == (1, "claim default/c: Terminating")
    assert "it is being deleted, and waits for its protection to be removed" in told.out
    for condition in ("bound", "ready"):
        ran = mooring("wait", "pvc/c", f"--for={condition}", "--timeout", "0")
        assert ran.code == 75
        assert "is being deleted" in ran.err


def test_wait_says_why_a_claim_is_not_bound(mooring: Mooring, tmp_path: Path, claim: dict[str, Any]) -> None:
    """In the words of explain, also when no Event is left; what a user wrote there is no refusal."""
    assert "a new volume of 1Mi is being provisioned" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err
    _apply(mooring, tmp_path, _event(claim["metadata"]["uid"], "no pool has room", name="b"))
    assert "no pool has room" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err
    annotated = {"metadata": {"name": "c", "annotations": {LAST_REFUSAL: "{["}}, "spec": claim["spec"]}
    _apply(mooring, tmp_path, {"kind": "PersistentVolumeClaim", "apiVersion": "v1", **annotated})
    assert "no pool has room" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err


def test_what_is_in_a_namespace_that_is_being_deleted_says_so(mooring: Mooring, tmp_path: Path) -> None:
    """Nothing new comes into it."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    _apply(
        mooring,
        tmp_path,
        {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}},
        {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "metadata": {"name": "c", "namespace": "n"},
            "spec": spec,
        },
    )
    assert mooring("delete", "ns", "n", "--no-wait").code == 0

    told = mooring("explain", "claim", "c", "-n", "n")
    assert told.code == 1
    assert "its namespace n is being deleted; " in told.out
