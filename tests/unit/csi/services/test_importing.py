"""Existing directories and images become volumes: they are moved and never written to."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi.v1 import inventory_pb2
from tests.unit.csi.services.driver import SECONDS, Driver, code_of, raw
from tests.unit.csi.services.kinds import MIB

LABELS = {"mooring.dev/namespace": "default", "mooring.dev/claim": "www-web-0"}


def _import(
    driver: Driver, item: str = "old", *, name: str = "imported", size: int = MIB, block: bool = False
) -> inventory_pb2.Manifest:
    request = inventory_pb2.ImportRequest(
        name=name, item=item, required_bytes=size, raw=block, holder=inventory_pb2.Holder(labels=LABELS)
    )
    return driver.inventory.Import(request, timeout=SECONDS).manifest


def _folder(driver: Driver) -> Path:
    folder = driver.pool / "import"
    folder.mkdir(exist_ok=True)
    return folder


def _directory(driver: Driver, name: str = "old") -> Path:
    path = _folder(driver) / name
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text("data", encoding="utf-8")
    os.chown(path / "deep", 1000, 1000)
    return path


def _image(driver: Driver, name: str = "old") -> Path:
    path, seed = _folder(driver) / name, driver.home / "seed"
    seed.mkdir()
    (seed / "file").write_text("data", encoding="utf-8")
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-U", str(uuid.uuid4()), "-d", str(seed), str(path)], check=True)
    return path


@pytest.mark.needs("root")
def test_a_directory_becomes_a_volume(driver: Driver) -> None:
    """It has its files with their owners, its bytes are reserved, and its owner is recorded."""
    source = _directory(driver)
    imported = _import(driver)

    assert (imported.state, imported.backend, imported.capacity_bytes) == ("ready", "directory", MIB)
    assert dict(imported.holder.labels) == LABELS
    assert not source.exists()
    driver.stage(imported.volume_id)
    target = driver.publish(imported.volume_id)
    assert (target / "deep" / "file").read_text(encoding="utf-8") == "data"
    assert (target / "deep").stat().st_uid == 1000
    driver.unpublish(imported.volume_id, target)
    driver.unstage(imported.volume_id)
    pool = driver.inventory.ListPools(inventory_pb2.ListPoolsRequest(), timeout=SECONDS).pools[0]
    assert pool.allocated_bytes == MIB
    again = _import(driver)
    assert again == imported, "the same request is the same volume"


@pytest.mark.needs("loop")
def test_an_image_becomes_a_volume_with_its_own_filesystem(driver: Driver) -> None:
    """Its size and the filesystem's UUID are read from it, and nothing is formatted."""
    _image(driver)
    imported = _import(driver, size=0)

    assert (imported.backend, imported.fs_type, imported.access_type, imported.capacity_bytes) == (
        "loop",
        "ext4",
        "mount",
        16 * MIB,
    )
    driver.stage(imported.volume_id)
    target = driver.publish(imported.volume_id)
    assert (target / "file").read_text(encoding="utf-8") == "data"
    driver.unpublish(imported.volume_id, target)
    driver.unstage(imported.volume_id)


@pytest.mark.needs("loop")
def test_an_image_can_become_a_raw_volume(driver: Driver) -> None:
    """Its size is exact to the byte, with any contents."""
    content = os.urandom(1 << 20)
    (_folder(driver) / "old").write_bytes(content)
    imported = _import(driver, block=True)

    assert imported.access_type == "block"
    driver.stage(imported.volume_id, use=raw())
    target = driver.publish(imported.volume_id, use=raw())
    assert target.read_bytes() == content
    driver.unpublish(imported.volume_id, target)
    driver.unstage(imported.volume_id)


def _a_link(driver: Driver) -> None:
    (_folder(driver) / "old").symlink_to("/etc")


def _a_linked_folder(driver: Driver) -> None:
    outside = driver.home / "outside"
    (outside / "old").mkdir(parents=True)
    (driver.pool / "import").symlink_to(outside)


def _two_names(driver: Driver) -> None:
    os.link(_image(driver), driver.home / "other")


def _blank(driver: Driver) -> None:
    (_folder(driver) / "old").write_bytes(bytes(MIB))


def _odd(driver: Driver) -> None:
    (_folder(driver) / "old").write_bytes(b"x" * 1000)


def _big(driver: Driver) -> None:
    (_directory(driver) / "big").write_bytes(os.urandom(2 * MIB))


def _name_in_use(driver: Driver) -> None:
    _directory(driver, "other")
    _import(driver, "other")
    _directory(driver)


@pytest.mark.parametrize(
    ("prepare", "item", "size", "code", "expected"),
    [
        (_folder, "old", MIB, "NOT_FOUND", "no old to import"),
        (_folder, "../volumes", MIB, "INVALID_ARGUMENT", "is no name of something"),
        (_folder, ".hidden", MIB, "INVALID_ARGUMENT", "is no name of something"),
        (_folder, "", MIB, "INVALID_ARGUMENT", "is no name of something"),
        (_a_link, "old", MIB, "INVALID_ARGUMENT", "links are not followed"),
        (_a_linked_folder, "old", MIB, "FAILED_PRECONDITION", "is a link"),
        (_two_names, "old", MIB, "FAILED_PRECONDITION", "another name"),
        (_blank, "old", MIB, "INVALID_ARGUMENT", "has no filesystem"),
        (_odd, "old", MIB, "INVALID_ARGUMENT", "whole sectors"),
        (_directory, "old", 0, "INVALID_ARGUMENT", "size of the volume"),
        (_directory, "old", -1, "INVALID_ARGUMENT", "negative"),
        (_directory, "old", 1 << 60, "RESOURCE_EXHAUSTED", "can reserve"),
        (_big, "old", MIB, "OUT_OF_RANGE", "occupies"),
        (_name_in_use, "old", MIB, "ALREADY_EXISTS", "was not imported from old"),
    ],
)
@pytest.mark.needs("root", "loop")
def test_an_item_that_cannot_be_imported_is_not_moved(
    driver: Driver, prepare: Callable[[Driver], object], item: str, size: int, code: str, expected: str
) -> None:
    """Each refusal has its code and the next step, and neither the files nor the pool's reserved bytes change."""
    prepare(driver)
    before = sorted(str(path) for path in driver.pool.rglob("*"))
    with pytest.raises(grpc.RpcError) as refused:
        _import(driver, item, size=size)

    assert (code_of(refused.value), expected in (refused.value.details() or "")) == (code, True), (
        refused.value.details()
    )
    assert sorted(str(path) for path in driver.pool.rglob("*")) == before


@pytest.mark.needs("root")
@pytest.mark.parametrize("moved", [False, True])
def test_a_retry_finishes_an_import_that_a_crash_interrupted(driver: Driver, moved: bool) -> None:
    """I5: whether the files were moved already or not; the unfinished volume has no owner meanwhile."""
    source = _directory(driver)
    imported = _import(driver)
    driver.end()
    volume_dir = driver.pool / "volumes" / "imported"
    manifest = json.loads((volume_dir / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"state": "creating", "holder": None}
    (volume_dir / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if not moved:
        (volume_dir / "data").rename(source)
    driver.start()

    request = inventory_pb2.ListManifestsRequest(labels=LABELS)
    assert not driver.inventory.ListManifests(request, timeout=SECONDS).manifests
    again = _import(driver)
    assert (again.state, again.volume_id) == ("ready", imported.volume_id)
    assert (volume_dir / "data" / "deep" / "file").read_text(encoding="utf-8") == "data"
    assert not source.exists()
