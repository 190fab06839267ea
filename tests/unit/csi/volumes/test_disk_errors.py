"""A disk that fails while a volume is created or imported leaves nothing behind, and health reports the disk."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from csi.backends.directory import Directory
from csi.errors import CsiError, Internal, ResourceExhausted
from csi.host import files
from csi.host.errors import HostError, NoSpaceError
from csi.volumes import health, manifest
from csi.volumes.imports import Importing
from csi.volumes.requests import Expanding
from csi.volumes.volume_manager import VolumeManager
from tests.unit.csi.volumes.fake_backend import creation, manager_of

MIB = 1 << 20
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))
FULL = NoSpaceError("the disk is full")


def _raise(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(("error", "refusal"), [(BROKEN, Internal), (FULL, ResourceExhausted)])
@pytest.mark.parametrize("write", ["intent", "acknowledgement"])
async def test_a_manifest_that_cannot_be_written_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, error: Exception, refusal: type[CsiError], write: str
) -> None:
    """Of the intent, and of the volume that is ready; the next request of that name succeeds."""
    manager, _ = manager_of(tmp_path / "p")
    whole = manifest.write

    def fail(volume_dir: Path, written: manifest.Manifest) -> None:
        if written.state == ("creating" if write == "intent" else "ready"):
            raise error
        whole(volume_dir, written)

    with monkeypatch.context() as broken:
        broken.setattr(manifest, "write", fail)
        with pytest.raises(refusal):
            await manager.create(creation("v"))
    pool = manager.catalog.pools[0]
    assert (manager.volumes(), manager.ledger.allocated(pool), list(pool.volumes.iterdir())) == ([], 0, [])
    assert (await manager.create(creation("v"))).manifest.state == "ready"
    await manager.stop()


async def test_a_volume_that_cannot_be_removed_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory remains, and the retry uses it."""
    manager, backend = manager_of(tmp_path / "p")
    backend.fails = BROKEN
    with monkeypatch.context() as broken:
        broken.setattr(files, "remove_tree", _raise(BROKEN))
        with pytest.raises(Internal):
            await manager.create(creation("v"))
    assert manager.ledger.allocated(manager.catalog.pools[0]) == 0
    backend.fails = None
    assert (await manager.create(creation("v"))).manifest.state == "ready"
    await manager.stop()


@pytest.mark.parametrize(("error", "refusal"), [(BROKEN, Internal), (HostError("the disk"), HostError)])
async def test_an_import_whose_intent_cannot_be_written_leaves_the_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, error: Exception, refusal: type[Exception]
) -> None:
    """Nothing is reserved, and the next request imports it."""
    manager, _ = manager_of(tmp_path / "p")
    item = tmp_path / "p" / "import" / "old"
    item.mkdir(parents=True)
    request = Importing("v", "old", "", MIB, raw=False, labels=())
    with monkeypatch.context() as broken:
        broken.setattr(manifest, "write", _raise(error))
        with pytest.raises(refusal):
            await manager.import_volume(request)
    assert (manager.volumes(), item.is_dir()) == ([], True)
    assert (await manager.import_volume(request)).manifest.state == "ready"
    await manager.stop()


async def test_an_expansion_whose_intent_cannot_be_written_leaves_the_volume_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its former size stays in its manifest, and the additional bytes are not reserved any more."""
    manager, _ = manager_of(tmp_path / "p")
    entry = await manager.create(creation("v", MIB))
    whole = manifest.write

    def fail(volume_dir: Path, written: manifest.Manifest) -> None:
        if written.grows_to:
            raise BROKEN
        whole(volume_dir, written)

    with monkeypatch.context() as broken:
        broken.setattr(manifest, "write", fail)
        with pytest.raises(Internal, match="cannot be expanded"):
            await manager.expand(Expanding(entry.manifest.handle, 2 * MIB, 0))
    assert (entry.manifest.size_bytes, entry.manifest.grows_to) == (MIB, 0)
    assert manifest.read(entry.volume_dir) == entry.manifest
    await manager.stop()


async def test_a_failing_disk_is_a_health_issue_of_its_pool_and_of_its_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the directory and the next step."""
    manager, _ = manager_of(tmp_path / "p")
    entry = await manager.create(creation("v"))
    with monkeypatch.context() as broken:
        broken.setattr(files, "filesystem_space", _raise(BROKEN))
        (issue,) = health.of_pool(entry.pool, manager.catalog)
        assert (issue.status, issue.reason) == ("STORAGE_UNREACHABLE", "PoolFailing")
        assert "check its disk" in issue.message
    with monkeypatch.context() as broken:
        broken.setattr(Directory, "health_issues", _raise(BROKEN))
        (issue,) = health.of_volume(entry, Directory(), None)
        assert (issue.status, issue.reason) == ("INACCESSIBLE", "DiskFailing")
        assert str(entry.volume_dir) in issue.message
    await manager.stop()


async def test_a_pool_whose_disk_fails_has_a_problem_in_its_report(tmp_path: Path) -> None:
    """Its other figures stay in the report; a path that is no pool has only the problem."""
    manager: VolumeManager
    manager, _ = manager_of(tmp_path / "p")
    manager.catalog.refused[tmp_path / "other"] = "other is not a pool"
    (tmp_path / "p" / "pool.json").unlink()
    pool, other = await manager.pool_reports()
    assert ("is not pool p any more" in pool.problem, pool.capacity > 0) == (True, True)
    assert (other.name, other.uuid, other.problem) == ("other", "", "other is not a pool")
    await manager.stop()
