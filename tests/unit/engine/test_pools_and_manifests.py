"""Pools carry their own identity, manifests all that is needed; what cannot be read is reported and left alone."""

import json
import shutil
from pathlib import Path

import pytest

from csi.engine.catalog import Catalog, read_contents
from csi.engine.manifest import Damaged, Holder, Manifest, read, write
from csi.engine.pools import Pool, make_pool, open_pools
from csi.errors import BadEnvironment


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


def test_an_empty_directory_becomes_a_pool_only_when_asked(tmp_path: Path) -> None:
    """And keeps its UUID from then on."""
    (tmp_path / "a").mkdir()
    known = tmp_path / "known.json"
    with pytest.raises(BadEnvironment, match="mooring pool init"):
        open_pools([tmp_path / "a"], known_file=known, init_empty=False)

    (first,) = open_pools([tmp_path / "a"], known_file=known, init_empty=True)
    (again,) = open_pools([tmp_path / "a"], known_file=known, init_empty=True)

    assert (first.uuid, first.name) == (again.uuid, "local")


def test_a_path_that_does_not_exist_is_never_made_a_pool(tmp_path: Path) -> None:
    """It may be the place of a disk that is not mounted."""
    with pytest.raises(BadEnvironment):
        open_pools([tmp_path / "gone"], known_file=tmp_path / "known.json", init_empty=True)

    assert not (tmp_path / "gone").exists()


def test_a_known_pool_that_is_missing_means_its_disk_is_not_mounted(tmp_path: Path) -> None:
    """Nothing is created in the empty mount point, though empty pools may be made."""
    path, known = tmp_path / "a", tmp_path / "known.json"
    path.mkdir()
    open_pools([path], known_file=known, init_empty=True)
    shutil.rmtree(path)
    path.mkdir()

    with pytest.raises(BadEnvironment, match="its disk is not mounted"):
        open_pools([path], known_file=known, init_empty=True)
    assert list(path.iterdir()) == []


def test_another_disk_at_a_known_path_is_refused(tmp_path: Path) -> None:
    """A new disk on an old path is never taken for the old one."""
    path, known = tmp_path / "a", tmp_path / "known.json"
    path.mkdir()
    open_pools([path], known_file=known, init_empty=True)
    shutil.rmtree(path)
    _pool(path)

    with pytest.raises(BadEnvironment, match="another disk is mounted"):
        open_pools([path], known_file=known, init_empty=True)


def test_two_pools_of_one_uuid_are_refused(tmp_path: Path) -> None:
    """A cloned disk: nobody can tell which is right."""
    _pool(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    with pytest.raises(BadEnvironment, match="one is a copy of the other"):
        open_pools([tmp_path / "a", tmp_path / "b"], known_file=tmp_path / "known.json", init_empty=False)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"uuid": 1, "name": "x"}', '{"schema": 9, "uuid": "u", "name": "x"}'])
def test_an_identity_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    """By name, with what to do; it is never replaced."""
    _pool(tmp_path / "a")
    (tmp_path / "a" / "pool.json").write_text(text, encoding="utf-8")

    with pytest.raises(BadEnvironment, match=r"pool\.json"):
        open_pools([tmp_path / "a"], known_file=tmp_path / "known.json", init_empty=True)
    assert (tmp_path / "a" / "pool.json").read_text(encoding="utf-8") == text


def test_a_pool_is_made_in_an_empty_directory_only(tmp_path: Path) -> None:
    """Somebody's files are not to become ours."""
    (tmp_path / "photos").write_text("dear", encoding="utf-8")

    with pytest.raises(BadEnvironment, match="photos is in it"):
        _pool(tmp_path)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All of it, holder and ledger included."""
    pool = _pool(tmp_path / "a")
    home = pool.volumes / "v"
    home.mkdir()
    written = _manifest(pool).held_by({"who": "a"}, now="t1").held_by({"who": "b"}, now="t2")
    write(home, written)

    assert read(home) == written
    assert (written.holder, written.ledger) == (Holder({"who": "b"}, "t2"), [Holder({"who": "a"}, "t1")])
    assert written.held_by({"who": "b"}, now="t3") is written


@pytest.mark.parametrize("damage", ["", "not json", '{"schema": 1}', "unknown field", "schema", "elsewhere"])
def test_a_damaged_manifest_is_reported_and_harms_no_other(tmp_path: Path, damage: str) -> None:
    """The volume is known to be damaged, its place is taken, and its bytes are left alone."""
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

    catalog.admit(pool, read_contents(pool))

    assert [entry.manifest.id for entry in catalog.all()] == ["good"]
    assert catalog.problem_at(pool, "bad")
    assert file.exists()


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    """The file, and that the data beside it is untouched."""
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")

    with pytest.raises(Damaged, match="the data beside it is untouched"):
        read(tmp_path)
