"""Tests of volume expansion with a real driver and real filesystems, while pods use the volumes."""

import json
import os
from pathlib import Path

import pytest

from tests.machine.engine_process import CLAIMS, PODS, SETS, VOLUMES, EngineProcess, Json, stateful_set

pytestmark = pytest.mark.needs("root")

MIB = 1 << 20
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ATTRIBUTES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
CLAIM = f"{CLAIMS}/www-web-0"


def _bring_up(engine: EngineProcess, *, storage_class: str, size: str) -> None:
    engine.create(SETS, stateful_set(replicas=1, storage_class=storage_class, size=size))
    engine.ready_pods("web-0")


def _take_down(engine: EngineProcess) -> None:
    engine.delete(f"{SETS}/web")
    engine.until(lambda: not engine.names(PODS), "the pod is deleted")
    engine.delete(CLAIM)
    engine.until(lambda: not engine.names(CLAIMS), "the claim is deleted")


def _request(engine: EngineProcess, size: str) -> None:
    engine.patch(CLAIM, {"spec": {"resources": {"requests": {"storage": size}}}})


def _wait_for_size(engine: EngineProcess, size: str) -> Json:
    """Wait until the claim has the size and no resize status; return its volume."""

    def expanded() -> bool:
        status = engine.get(CLAIM)["status"]
        return bool(status.get("capacity") == {"storage": size}) and not status.get("allocatedResourceStatuses")

    engine.until(expanded, f"the claim has {size}")
    claim = engine.get(CLAIM)
    assert [] == (claim["status"].get("conditions") or [])
    volume = engine.get(f"{VOLUMES}/{claim['spec']['volumeName']}")
    assert {"storage": size} == volume["spec"]["capacity"]
    return volume


def _bytes(path: Path) -> int:
    """Return the size of the filesystem in bytes, without its metadata."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def _warned(engine: EngineProcess) -> list[str]:
    events = engine.get("/api/v1/namespaces/default/events")["items"]
    return [each["message"] for each in events if each["type"] == "Warning" and "www" in each["involvedObject"]["name"]]


def test_a_directory_volume_is_expanded_at_once(engine: EngineProcess) -> None:
    """Its size is only reserved in the pool: the volume is not remounted, and its file stays."""
    _bring_up(engine, storage_class="mooring-directory", size="16Mi")
    engine.file("web-0").write_text("data", encoding="utf-8")
    _request(engine, "32Mi")
    _wait_for_size(engine, "32Mi")
    assert "data" == engine.file("web-0").read_text(encoding="utf-8")


@pytest.mark.needs("loop", "xfs")
def test_a_filesystem_is_expanded_while_its_pod_uses_it(engine: EngineProcess) -> None:
    """Image, loop device and filesystem are expanded while a file on it is open."""
    xfs = {"backend": "loop", "csi.storage.k8s.io/fstype": "xfs", "adopt": "Ordinal"}
    engine.create(
        CLASSES,
        {
            "metadata": {"name": "xfs"},
            "provisioner": "csi.mooring.dev",
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
            "parameters": xfs,
        },
    )
    _bring_up(engine, storage_class="xfs", size="320Mi")
    before = _bytes(engine.file("web-0").parent)
    with engine.file("web-0").open("w", encoding="utf-8") as open_file:
        _request(engine, "512Mi")
        volume = _wait_for_size(engine, "512Mi")
        open_file.write("data")
    assert _bytes(engine.file("web-0").parent) >= before + 150 * MIB
    assert "data" == engine.file("web-0").read_text(encoding="utf-8")
    engine.until(
        lambda: (
            "volume.alpha.kubernetes.io/pre-resize-capacity"
            not in engine.get(f"{VOLUMES}/{volume['metadata']['name']}")["metadata"]["annotations"]
        ),
        "the annotation with the former size is removed",
    )


@pytest.mark.needs("loop")
def test_a_raw_volume_is_expanded_while_its_pod_uses_it(engine: EngineProcess) -> None:
    """It has no filesystem to expand; the device at the pod's path has the new size."""
    raw = stateful_set(replicas=1, storage_class="mooring-loop", size="16Mi")
    raw["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = "Block"
    container = raw["spec"]["template"]["spec"]["containers"][0]
    container["volumeDevices"] = [{"name": container.pop("volumeMounts")[0]["name"], "devicePath": "/dev/raw"}]
    engine.create(SETS, raw)
    engine.ready_pods("web-0")
    device = engine.file("web-0").parent
    with device.open("r+b") as written:
        written.write(b"data")
    _request(engine, "32Mi")
    _wait_for_size(engine, "32Mi")
    with device.open("rb") as read:
        assert b"data" == read.read(4)
        assert 32 * MIB == read.seek(0, os.SEEK_END)


@pytest.mark.needs("loop", "ext4")
def test_a_filesystem_that_cannot_be_expanded_in_use_is_expanded_at_the_next_mount(engine: EngineProcess) -> None:
    """Without CAP_SYS_RESOURCE ext4 is expanded when the next pod mounts it; with it, possibly before."""
    _bring_up(engine, storage_class="mooring-loop", size="64Mi")
    engine.file("web-0").write_text("data", encoding="utf-8")
    before = _bytes(engine.file("web-0").parent)
    _request(engine, "128Mi")
    engine.until(
        lambda: (
            engine.get(f"{VOLUMES}/{engine.get(CLAIM)['spec']['volumeName']}")["spec"]["capacity"]
            == {"storage": "128Mi"}
        ),
        "the volume is expanded",
    )
    uid = engine.get(f"{PODS}/web-0")["metadata"]["uid"]
    engine.delete(f"{PODS}/web-0")
    engine.until(
        lambda: (pod := engine.find(f"{PODS}/web-0")) and pod["metadata"]["uid"] != uid, "the pod is recreated"
    )
    engine.ready_pods("web-0")
    _wait_for_size(engine, "128Mi")
    assert _bytes(engine.file("web-0").parent) >= before + 50 * MIB
    assert "data" == engine.file("web-0").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "storage_class", ["mooring-directory", pytest.param("mooring-loop", marks=pytest.mark.needs("loop", "ext4"))]
)
def test_a_set_recreated_with_a_larger_template_keeps_its_data(engine: EngineProcess, storage_class: str) -> None:
    """The volume is expanded and then adopted; the claim has the new size after the filesystem is expanded."""
    _bring_up(engine, storage_class=storage_class, size="64Mi")
    engine.file("web-0").write_text("data", encoding="utf-8")
    before = engine.get(CLAIM)["spec"]["volumeName"]
    size = _bytes(engine.file("web-0").parent)
    _take_down(engine)
    _bring_up(engine, storage_class=storage_class, size="128Mi")
    volume = _wait_for_size(engine, "128Mi")
    assert before == volume["metadata"]["name"]
    assert "data" == engine.file("web-0").read_text(encoding="utf-8")
    if storage_class == "mooring-loop":
        assert _bytes(engine.file("web-0").parent) >= size + 50 * MIB


def test_a_size_that_no_pool_has_is_refused_with_its_reason(engine: EngineProcess) -> None:
    """I7: Event and condition have the driver's message; the pod continues with the old size."""
    _bring_up(engine, storage_class="mooring-directory", size="16Mi")
    _request(engine, "1Ei")
    state = {"storage": "ControllerResizeInfeasible"}
    engine.until(lambda: engine.get(CLAIM)["status"].get("allocatedResourceStatuses") == state, "the size is refused")
    conditions = {each["type"]: each.get("message", "") for each in engine.get(CLAIM)["status"]["conditions"]}
    assert any(conditions["ControllerResizeError"] in message for message in _warned(engine))
    assert {"storage": "16Mi"} == engine.get(CLAIM)["status"]["capacity"]
    engine.ready_pods("web-0")


def test_a_former_volume_that_cannot_be_expanded_enough_blocks_its_claim(engine: EngineProcess) -> None:
    """I2, I7: no empty volume is created instead; an Event of the claim has the driver's message."""
    _bring_up(engine, storage_class="mooring-directory", size="16Mi")
    volume = engine.get(CLAIM)["spec"]["volumeName"]
    _take_down(engine)
    engine.create(SETS, stateful_set(replicas=1, size="1Ei"))
    messages = engine.until(lambda: [each for each in _warned(engine) if volume in each], "an Event has the reason")
    assert "request less, or free capacity in its pool" in messages[0]
    assert "Pending" == engine.get(CLAIM)["status"]["phase"]
    assert [volume] == engine.names(VOLUMES)


def test_attributes_of_a_volume_change_with_its_claim(engine: EngineProcess) -> None:
    """The parameters of the VolumeAttributesClass are written to the manifest, and the claim's status has the class."""
    _bring_up(engine, storage_class="mooring-directory", size="16Mi")
    attributes = {"driverName": "csi.mooring.dev", "parameters": {"trashRetention": "90h"}}
    engine.create(ATTRIBUTES, {"metadata": {"name": "long-retention"}, **attributes})
    engine.patch(CLAIM, {"spec": {"volumeAttributesClassName": "long-retention"}})
    engine.until(
        lambda: engine.get(CLAIM)["status"].get("currentVolumeAttributesClassName") == "long-retention",
        "the claim has the class",
    )
    assert engine.get(CLAIM)["status"].get("modifyVolumeStatus") is None
    manifest = json.loads(next((engine.state / "pool" / "volumes").glob("*/manifest.json")).read_bytes())
    assert 90 * 3600 in manifest.values() or "90h" in json.dumps(manifest)
