"""Pools have an identity file, volumes a manifest; what cannot be read is reported and not changed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from csi.backends import backends
from csi.errors import BadEnvironment
from csi.volumes.catalog import Catalog, read_contents
from csi.volumes.manifest import MAX_OWNERS, DamagedError, Holder, Manifest, read, write
from csi.volumes.pools import Pool, make_pool, open_pools

BACKENDS = backends()
T1, T2 = "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z"


def _manifest(pool: Pool, name: str = "v", **changes: object) -> Manifest:
    facts: dict[str, object] = {
        "id": name,
        "name": name,
        "pool": pool.uuid,
        "size_bytes": 4096,
        "backend": "directory",
        "access_type": "mount",
        "fs_type": "",
        "fs_uuid": "",
        "enforced": False,
        "provisioning": "thin",
        "parameters": {},
        "state": "ready",
        "created": "2026-01-01T00:00:00.000000Z",
    }
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


def _pool(path: Path) -> Pool:
    return make_pool(path, name="p", capacity_bytes=None, known={})


def test_an_empty_directory_becomes_a_pool_only_on_request(tmp_path: Path) -> None:
    """It keeps its UUID from then on."""
    (tmp_path / "a").mkdir()
    known = tmp_path / "known.json"
    with pytest.raises(BadEnvironment, match="mooring pool init"):
        open_pools([tmp_path / "a"], known_file=known, init_empty=False).require_any()

    (first,) = open_pools([tmp_path / "a"], known_file=known, init_empty=True).pools
    (again,) = open_pools([tmp_path / "a"], known_file=known, init_empty=True).pools

    assert (first.uuid, first.name) == (again.uuid, "local")


def test_a_path_that_does_not_exist_never_becomes_a_pool(tmp_path: Path) -> None:
    """It may be the mount point of a disk that is not mounted."""
    with pytest.raises(BadEnvironment):
        open_pools([tmp_path / "gone"], known_file=tmp_path / "known.json", init_empty=True).require_any()

    assert not (tmp_path / "gone").exists()


def test_a_pool_is_created_in_an_existing_directory_or_in_a_new_one_on_request(tmp_path: Path) -> None:
    """A path with a typo in its last name would become a pool on the disk of the directory above."""
    path = tmp_path / "dsik1"
    with pytest.raises(BadEnvironment, match=f"{path} does not exist; .*--create"):
        make_pool(path, name="p", capacity_bytes=None, known={}, create=False)
    assert not path.exists()

    assert make_pool(path, name="p", capacity_bytes=None, known={}, create=True).path == path


def test_no_parent_directory_of_a_pool_is_created(tmp_path: Path) -> None:
    """A mistyped path would become a pool on another disk; the last directory alone may be missing."""
    for path in (tmp_path / "srw/pool", tmp_path / "a/b/c"):
        with pytest.raises(BadEnvironment, match="is no directory"):
            _pool(path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadEnvironment):
        _pool(tmp_path / "file/pool")

    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert _pool(tmp_path / "pool").path == tmp_path / "pool"


def test_a_known_pool_that_is_missing_means_its_disk_is_not_mounted(tmp_path: Path) -> None:
    """Nothing is created in the empty mount point, though empty pools may be made."""
    path, known = tmp_path / "a", tmp_path / "known.json"
    path.mkdir()
    open_pools([path], known_file=known, init_empty=True)
    shutil.rmtree(path)
    path.mkdir()

    opened = open_pools([path], known_file=known, init_empty=True)
    opened.require_any()
    assert opened.pools == []
    assert "its disk is not mounted" in opened.problems[path]
    assert list(path.iterdir()) == []


def test_another_disk_at_a_known_path_is_refused(tmp_path: Path) -> None:
    """A new disk at a known path is never taken for the former one."""
    path, known = tmp_path / "a", tmp_path / "known.json"
    path.mkdir()
    open_pools([path], known_file=known, init_empty=True)
    shutil.rmtree(path)
    _pool(path)

    opened = open_pools([path], known_file=known, init_empty=True)
    assert opened.pools == []
    assert "another disk is mounted" in opened.problems[path]


def test_two_pools_of_one_uuid_are_refused(tmp_path: Path) -> None:
    """On a cloned disk the original cannot be determined."""
    _pool(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    paths = [tmp_path / "a", tmp_path / "b"]
    opened = open_pools(paths, known_file=tmp_path / "known.json", init_empty=False)
    assert [pool.path for pool in opened.pools] == paths[:1]
    assert "one is a copy of the other" in opened.problems[tmp_path / "b"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"uuid": 1, "name": "x"}', '{"schema": 9, "uuid": "u", "name": "x"}'])
def test_an_identity_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    """The error names the file and the next step; the file is never replaced."""
    _pool(tmp_path / "a")
    (tmp_path / "a" / "pool.json").write_text(text, encoding="utf-8")

    with pytest.raises(BadEnvironment, match=r"pool\.json"):
        open_pools([tmp_path / "a"], known_file=tmp_path / "known.json", init_empty=True).require_any()
    assert (tmp_path / "a" / "pool.json").read_text(encoding="utf-8") == text


def test_a_pool_is_created_in_an_empty_directory_only(tmp_path: Path) -> None:
    """Existing files do not become part of a pool."""
    (tmp_path / "photos").write_text("dear", encoding="utf-8")

    with pytest.raises(BadEnvironment, match="photos is in it"):
        _pool(tmp_path)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With all fields, its owner and former owners included."""
    pool = _pool(tmp_path / "a")
    volume_dir = pool.volumes / "v"
    volume_dir.mkdir()
    written = _manifest(pool).owned_by({"who": "a"}, now=T1).owned_by({"who": "b"}, now=T2)
    write(volume_dir, written)

    assert read(volume_dir) == written
    assert (written.holder, written.ledger) == (Holder({"who": "b"}, T2), [Holder({"who": "a"}, T1)])
    assert written.owned_by({"who": "b"}, now="t3") is written


@pytest.mark.parametrize("damage", ["", "not json", '{"schema": 1}', "unknown field", "schema", "elsewhere"])
def test_a_damaged_manifest_is_reported_and_affects_no_other_volume(tmp_path: Path, damage: str) -> None:
    """The volume is reported as damaged, its directory is not reused, and its data is not changed."""
    pool = _pool(tmp_path / "a")
    for name in ("good", "bad"):
        (pool.volumes / name).mkdir()
        write(pool.volumes / name, _manifest(pool, name))
    file = pool.volumes / "bad" / "manifest.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    changes: dict[str, dict[str, object]] = {
        "unknown field": {"surprise": 1},
        "schema": {"schema": 2},
        "elsewhere": {"id": "other"},
    }
    changed = changes.get(damage)
    file.write_text(json.dumps({**facts, **changed}) if changed else damage, encoding="utf-8")
    catalog = Catalog()

    catalog.admit(pool, read_contents(pool, backends=BACKENDS))

    assert [entry.manifest.id for entry in catalog.all()] == ["good"]
    assert catalog.problem_at(pool, "bad")
    assert file.exists()


def test_the_error_of_a_manifest_names_the_file(tmp_path: Path) -> None:
    """It also reports that the data beside the file is not changed."""
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")

    with pytest.raises(DamagedError, match="the data beside it is untouched"):
        read(tmp_path)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _changed(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "not UTF-8": lambda path: path.write_bytes(path.read_bytes().replace(b'"bad"', b'"\xe2ad"')),
    "nested": lambda path: path.write_bytes(b"[" * 200_000),
    "too large": lambda path: os.truncate(path, 1 << 40),
    "a link": _link,
    "a pipe": _pipe,
    "a directory": _directory,
    "missing": Path.unlink,
    "a negative size": _changed(size_bytes=-1),
    "a huge size": _changed(size_bytes=1 << 70),
    "a huge expansion": _changed(grows_to=1 << 62),
    "no time": _changed(created="yesterday"),
    "a time before all": _changed(created="0000-00-00T00:00:00Z"),
    "a holder without time": _changed(holder={"labels": {}, "since": "x"}),
    "a backend of another driver": _changed(backend="zvol"),
    "an unknown filesystem": _changed(backend="loop", fs_type="ext5"),
    "a raw directory": _changed(access_type="block"),
    "a lone surrogate": _changed(parameters={"x": "\ud800"}),
    "parameters without end": _changed(parameters={"x": "y" * 100_000}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_anything_in_place_of_a_manifest_damages_only_its_volume(tmp_path: Path, damage: str) -> None:
    """I9: the pool is read, the volume is reported once, its data stays, and nothing is created at its path."""
    pool = _pool(tmp_path / "a")
    for name in ("good", "bad"):
        (pool.volumes / name / "data").mkdir(parents=True)
        write(pool.volumes / name, _manifest(pool, name))
    DAMAGE[damage](pool.volumes / "bad" / "manifest.json")
    catalog = Catalog()

    catalog.admit(pool, read_contents(pool, backends=BACKENDS))

    assert [entry.manifest.id for entry in catalog.all()] == ["good"]
    assert catalog.problem_at(pool, "bad")
    assert (pool.volumes / "bad" / "data").is_dir()


@pytest.mark.parametrize("damage", [_link, _pipe, _directory, lambda path: path.write_bytes(b"\xff")])
def test_anything_in_place_of_a_node_record_does_not_affect_its_volume(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """The mount table has what is mounted."""
    pool = _pool(tmp_path / "a")
    (pool.volumes / "v").mkdir()
    write(pool.volumes / "v", _manifest(pool))
    (pool.volumes / "v" / "node.json").touch()
    damage(pool.volumes / "v" / "node.json")

    assert [entry.manifest.id for entry in read_contents(pool, backends=BACKENDS).entries] == ["v"]


@pytest.mark.parametrize("damage", [_link, _pipe, _directory, Path.unlink, lambda path: path.write_bytes(b"\xff")])
def test_a_pool_that_cannot_be_opened_affects_no_other(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """It is reported with its path."""
    for name in "ab":
        _pool(tmp_path / name)
    damage(tmp_path / "a" / "pool.json")
    paths = [tmp_path / "a", tmp_path / "b"]

    opened = open_pools(paths, known_file=tmp_path / "known.json", init_empty=False)
    opened.require_any()

    assert [pool.path.name for pool in opened.pools] == ["b"]
    assert list(opened.problems) == paths[:1]


def test_the_former_owners_in_a_manifest_are_limited(tmp_path: Path) -> None:
    """The newest ones stay; a manifest with more is read, too."""
    manifest = _manifest(_pool(tmp_path / "a"))
    for number in range(MAX_OWNERS + 9):
        manifest = manifest.owned_by({"who": f"{number}"}, now=T1)
    assert [each.labels["who"] for each in manifest.ledger] == [f"{number + 8}" for number in range(MAX_OWNERS)]
    write(tmp_path, msgspec.structs.replace(manifest, ledger=[*manifest.ledger, *manifest.ledger]))

    assert read(tmp_path) == manifest


def test_a_symbolic_link_in_place_of_a_volume_is_reported(tmp_path: Path) -> None:
    """It is not followed, regardless of its target."""
    pool = _pool(tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", _manifest(pool))
    (pool.volumes / "v").symlink_to(tmp_path / "elsewhere")

    contents = read_contents(pool, backends=BACKENDS)

    assert (contents.entries, list(contents.damaged)) == ([], [pool.volumes / "v"])
