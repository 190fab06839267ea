"""Durable writes, and removal that never leaves its root."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi.host import files, trees
from csi.host.errors import UnsafePathError

NAMES = st.text("abc.", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
TREES = st.recursive(
    st.sampled_from(["file", "link out", "link up", "broken", "fifo"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_the_removal_of_a_tree_removes_all_of_it_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    """Also with links in it that a tenant created to any target."""
    root = tmp_path_factory.mktemp("root")
    outside = root / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    _build(root / "removed", tree, outside)

    files.remove_tree(root, root / "removed")
    files.remove_tree(root, root / "removed")

    assert [each.name for each in root.iterdir()] == ["outside"]
    assert (outside / "precious").exists()


def _build(path: Path, what: object, outside: Path) -> None:
    if isinstance(what, dict):
        path.mkdir()
        for name, inner in what.items():
            _build(path / name, inner, outside)
    elif what == "file":
        path.write_text("y", encoding="utf-8")
    elif what == "fifo":
        os.mkfifo(path)
    else:
        targets = {"link out": str(outside), "link up": "..", "broken": "/nowhere"}
        path.symlink_to(targets[str(what)])


def test_a_tree_deeper_than_any_path_or_stack_is_removed(tmp_path: Path) -> None:
    """Recursion and open files do not grow with the depth."""
    directory = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=directory)
    for name in ["deep"] + ["d" * 20] * 3000:
        below = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
        os.mkdir("d" * 20, dir_fd=directory)
    os.close(directory)

    files.remove_tree(tmp_path, tmp_path / "deep")

    assert list(tmp_path.iterdir()) == []


def test_removal_refuses_to_leave_its_root(tmp_path: Path) -> None:
    """The root itself, a path with .. and a link in the path are refused."""
    (tmp_path / "root").mkdir()
    (tmp_path / "other" / "x").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "other")

    for path in (tmp_path / "root", tmp_path / "root" / ".." / "other", tmp_path / "root" / "link" / "x"):
        with pytest.raises(UnsafePathError):
            files.remove_tree(tmp_path / "root", path)
    assert (tmp_path / "other" / "x").exists()


@pytest.mark.needs("root")
def test_removal_stops_at_a_mount(tmp_path: Path) -> None:
    """A filesystem that is mounted inside a volume is not the volume's."""
    from csi.host import mounts  # noqa: PLC0415 # only this test mounts

    (tmp_path / "removed" / "a" / "mount").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("x", encoding="utf-8")
    mounts.bind(tmp_path / "other", tmp_path / "removed" / "a" / "mount")
    try:
        with pytest.raises(UnsafePathError, match="mounted"):
            files.remove_tree(tmp_path, tmp_path / "removed")
    finally:
        mounts.unmount(tmp_path / "removed" / "a" / "mount")

    assert (tmp_path / "other" / "precious").exists()


def test_a_write_replaces_a_whole_file_and_leaves_no_other(tmp_path: Path) -> None:
    """It follows no link at its temporary name."""
    (tmp_path / "victim").write_text("v", encoding="utf-8")
    files.write_atomic(tmp_path / "f", b"one")
    files.write_atomic(tmp_path / "f", b"two")

    assert (tmp_path / "f").read_bytes() == b"two"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["f", "victim"]
    (tmp_path / ".f.new").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        files.write_atomic(tmp_path / "f", b"three")
    assert (tmp_path / "victim").read_text(encoding="utf-8") == "v"


def test_holes_and_links_do_not_count_as_stored(tmp_path: Path) -> None:
    """The size of a tree is that of its blocks."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 << 20)
    (tmp_path / "link").symlink_to("/usr")

    assert trees.disk_bytes(tmp_path) < 1 << 20
