"""`mooring explain` and `mooring wait` for objects that are being deleted, are refused, or reuse a name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.model.names import DRIVER, LAST_REFUSAL
from tests.unit.provisioner.cli.conftest import Mooring


@pytest.fixture
def claim(mooring: Mooring, tmp_path: Path) -> dict[str, Any]:
    """Return an unbound claim of a class with binding mode Immediate."""
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
    result = mooring("apply", "-f", str(file))
    assert result.code == 0, result.err


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


def test_events_of_a_former_object_of_the_same_name_are_ignored(
    mooring: Mooring, tmp_path: Path, claim: dict[str, Any]
) -> None:
    """Events are selected by the object's UID; the newest one is the reason why no volume is provisioned."""
    uid = claim["metadata"]["uid"]
    _apply(
        mooring,
        tmp_path,
        _event("former", "of the former claim", name="a", last="9"),
        _event(uid, "of this claim", name="b"),
    )

    explained = mooring("explain", "claim", "c").out
    assert "of the former claim" not in explained
    assert "it has no volume yet: of this claim" in explained
    _apply(mooring, tmp_path, _event(uid, "made", name="d", warning=False, last="5"))
    assert "it has no volume yet" not in mooring("explain", "claim", "c").out


def test_an_object_that_is_being_deleted_is_neither_ready_nor_bound(mooring: Mooring, claim: dict[str, Any]) -> None:
    """`get` prints Terminating, `explain` what the deletion waits for, and `wait` ends with an error."""
    assert mooring("delete", "pvc", claim["metadata"]["name"], "--no-wait").code == 0

    assert "Terminating" in mooring("get", "pvc", "c").out
    explained = mooring("explain", "claim", "c")
    assert (explained.code, explained.out.splitlines()[0]) == (1, "claim default/c: Terminating")
    assert "it is being deleted, and waits for its protection to be removed" in explained.out
    for condition in ("bound", "ready"):
        result = mooring("wait", "pvc/c", f"--for={condition}", "--timeout", "0")
        assert result.code == 75
        assert "is being deleted" in result.err


def test_wait_reports_why_a_claim_is_not_bound(mooring: Mooring, tmp_path: Path, claim: dict[str, Any]) -> None:
    """The reason is that of `explain`, also without an Event; an invalid annotation of a user is ignored."""
    assert "a new volume of 1Mi is being provisioned" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err
    _apply(mooring, tmp_path, _event(claim["metadata"]["uid"], "no pool has free capacity", name="b"))
    assert "no pool has free capacity" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err
    annotated = {"metadata": {"name": "c", "annotations": {LAST_REFUSAL: "{["}}, "spec": claim["spec"]}
    _apply(mooring, tmp_path, {"kind": "PersistentVolumeClaim", "apiVersion": "v1", **annotated})
    assert "no pool has free capacity" in mooring("wait", "pvc/c", "--for=bound", "--timeout", "0").err


def test_explain_reports_that_the_namespace_is_being_deleted(mooring: Mooring, tmp_path: Path) -> None:
    """A claim in that namespace is unhealthy, since nothing can be created there."""
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

    explained = mooring("explain", "claim", "c", "-n", "n")
    assert explained.code == 1
    assert "its namespace n is being deleted; " in explained.out
