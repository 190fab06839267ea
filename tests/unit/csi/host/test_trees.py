"""No tree that a tenant writes ends a walk with an error, or needs more than a bounded amount of memory and descriptors."""

import contextlib
import errno
import itertools
import os
import shutil
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csi.host import files, mounts, trees
from csi.host.errors import UnsafePathError
from tests.unit.csi.services.kinds import disk

DEPTH = 600
SHAPES = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A chain of directories longer than the longest possible path, with a file of 8 KiB at its end."""
    directory = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d" * 8, dir_fd=directory)
        deeper = os.open("d" * 8, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
    os.write(file, b"x" * 8192)
    os.fsync(file)
    os.close(file)
    os.close(directory)
    yield tmp_path
    files.remove_tree(tmp_path, tmp_path / ("d" * 8))


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _names(top: Path) -> list[str]:
    directory = os.open(top, os.O_RDONLY)
    try:
        return [found.name for found in trees.walk(directory)]
    finally:
        os.close(directory)


def test_a_tree_deeper_than_any_path_is_walked_with_few_descriptors(deep: Path) -> None:
    """Neither the length of paths nor a limit on open files ends a walk."""
    directory, most, found = os.open(deep, os.O_RDONLY), 0, []
    before = _open_files()
    for number, each in enumerate(trees.walk(directory)):
        found.append(each.name)
        if number % 100 == 0:
            most = max(most, _open_files() - before)
    os.close(directory)

    assert (len(found), found[-1]) == (DEPTH + 2, "file")
    assert most <= 2 * trees.MOST_OPEN + 4
    assert _open_files() == before - 1


@given(SHAPES, st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_walk_yields_every_entry_once(
    tmp_path_factory: pytest.TempPathFactory, shape: int | dict[str, object], most_open: int
) -> None:
    """With any shape of the tree, and with any limit on open directories."""
    top = tmp_path_factory.mktemp("tree")
    _build(top, shape)
    before, trees.MOST_OPEN = trees.MOST_OPEN, most_open  # type: ignore[misc] # as it is for a deep tree
    try:
        met = _names(top)
    finally:
        trees.MOST_OPEN = before  # type: ignore[misc]

    assert sorted(filter(None, met)) == sorted(name for _, _, names in os.walk(top) for name in names)
    assert met.count("") == sum(1 for _ in os.walk(top))


def _build(directory: Path, shape: object) -> None:
    if isinstance(shape, dict):
        for name, inner in shape.items():
            (directory / name).mkdir()
            _build(directory / name, inner)
    else:
        for number in range(int(str(shape))):
            (directory / f"{number}").touch()


def test_memory_does_not_grow_with_the_number_of_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories beyond the limit are skipped."""
    for number in range(600):
        (tmp_path / f"{number:0100d}").mkdir()
    _names(tmp_path)
    tracemalloc.start()
    directory = os.open(tmp_path, os.O_RDONLY)
    count = sum(1 for _ in trees.walk(directory))
    os.close(directory)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (count, most < 100_000) == (601, True)
    monkeypatch.setattr(trees, "MOST_OPEN", 1)
    monkeypatch.setattr(trees, "MOST_NAMES", 10)
    (tmp_path / "all").mkdir()
    for each in [path for path in tmp_path.iterdir() if path.name != "all"]:
        each.rename(tmp_path / "all" / each.name)
    assert 2 <= _names(tmp_path).count("") <= 13


def test_an_inode_with_several_names_counts_once(tmp_path: Path) -> None:
    """Also if the names are in several trees; databases take snapshots by hard links."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "0").write_bytes(os.urandom(1 << 20))
    empty = trees.disk_bytes(tmp_path / "b")
    for number in range(7):
        (tmp_path / "ab"[number % 2] / f"{number + 1}").hardlink_to(tmp_path / "a" / "0")
    subprocess.run(["sync", "-f", str(tmp_path)], check=True)

    assert 1 << 20 <= trees.disk_bytes(tmp_path) <= (1 << 20) + 5 * max(empty, 4096)
    parts = [trees.disk_bytes(tmp_path / name) for name in ("a", "b")]
    assert 1 << 20 <= sum(parts) <= (1 << 20) + 4 * max(empty, 4096)


@pytest.mark.needs("root")
def test_a_walk_stays_on_its_mount(tmp_path: Path) -> None:
    """A filesystem mounted in a volume, on a directory or a file, is not the volume's, and may hang."""
    for name in ("tree/in", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other" / "secret").touch()
    (tmp_path / "tree" / "file").touch()
    mounts.bind(tmp_path / "other", tmp_path / "tree" / "in")
    try:
        assert _names(tmp_path / "tree") == ["", "file"]
    finally:
        mounts.unmount(tmp_path / "tree" / "in")


@pytest.mark.needs("root", "loop")
@pytest.mark.parametrize("most_open", [trees.MOST_OPEN, 1])
def test_a_damaged_inode_is_skipped_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_open: int
) -> None:
    """EUCLEAN: one file and one directory of a real ext4 have no valid type any more."""
    monkeypatch.setattr(trees, "MOST_OPEN", most_open)
    with disk(tmp_path / "disk", "ext4", 64 << 20) as top:
        for name in ("a", "b-damaged", "c"):
            (top / "tree" / name).mkdir(parents=True)
            for file in ("1", "2-damaged", "3"):
                (top / "tree" / name / file).write_bytes(os.urandom(65536))
        subprocess.run(["umount", str(top)], check=True)
        image = tmp_path / "disk.disk"
        for damaged in ("a/2-damaged", "b-damaged"):
            command = f"set_inode_field /tree/{damaged} mode 0"
            subprocess.run(["debugfs", "-w", "-R", command, str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(top)], check=True)

        for damaged in ("a/2-damaged", "b-damaged"):
            with pytest.raises(OSError, match="needs cleaning"):
                (top / "tree" / damaged).lstat()
        assert sorted(_names(top / "tree")) == ["", "", "", "1", "1", "2-damaged", "3", "3"]
        assert 5 * 65536 <= trees.disk_bytes(top / "tree") < 6 * 65536


@pytest.mark.needs("root", "fuse")
def test_a_filesystem_in_a_volume_whose_program_ended_is_skipped(tmp_path: Path) -> None:
    """ENOTCONN of a FUSE mount: its directory cannot even be looked at."""
    (tmp_path / "tree/a").mkdir(parents=True)
    (tmp_path / "tree/b-dead").mkdir()
    for name in ("a/1", "c"):
        (tmp_path / "tree" / name).write_bytes(os.urandom(65536))
    subprocess.run(["sync", "-f", str(tmp_path)], check=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = [f"fd={device}", "rootmode=40000", "user_id=0", "group_id=0"]
        mounts.mount("dead", tmp_path / "tree/b-dead", fs_type="fuse", options=options)
    finally:
        os.close(device)
    try:
        with pytest.raises(OSError, match="not connected"):
            (tmp_path / "tree/b-dead").lstat()
        assert sorted(_names(tmp_path / "tree")) == ["", "", "1", "c"]
        assert 2 * 65536 <= trees.disk_bytes(tmp_path / "tree") < 3 * 65536
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path / "tree/b-dead")], check=True)


@pytest.mark.parametrize("most_open", [trees.MOST_OPEN, 1])
@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.ESTALE])
def test_an_entry_that_fails_is_skipped_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, most_open: int
) -> None:
    """Whatever the disk says: when the entry is looked at, and when its directory is opened or read."""
    monkeypatch.setattr(trees, "MOST_OPEN", most_open)
    error = OSError(number, os.strerror(number))
    for name in ("a", "closed", "unreadable", "z"):
        (tmp_path / name).mkdir()
        for file in ("1", "failing", "untyped"):
            (tmp_path / name / file).touch()
    unreadable = (tmp_path / "unreadable").stat().st_ino
    scandir, enter = os.scandir, trees.enter

    def scan(directory: int) -> Iterator[object]:
        if os.fstat(directory).st_ino == unreadable:
            raise error
        return _Entries(scandir(directory), error)

    with monkeypatch.context() as failing:
        failing.setattr(os, "scandir", scan)
        failing.setattr(trees, "enter", lambda where, name: None if name == "closed" else enter(where, name))
        assert sorted(_names(tmp_path)) == ["", "", "", "", "1", "1"]


class _Entries:
    """The entries of a directory, some of which fail."""

    def __init__(self, entries: Iterator[os.DirEntry[str]], error: OSError) -> None:
        self._entries = entries
        self._error = error

    def __iter__(self) -> "_Entries":
        return self

    def __next__(self) -> object:
        entry = next(self._entries)
        return _Failing(entry.name, self._error) if entry.name in {"failing", "untyped"} else entry

    def close(self) -> None:
        """As of os.scandir."""
        self._entries.close()  # type: ignore[attr-defined]


class _Failing:
    def __init__(self, name: str, error: OSError) -> None:
        self.name = name
        self._error = error

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        if self.name == "untyped":
            raise self._error
        return follow_symlinks

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        assert not follow_symlinks
        raise self._error


def test_an_unreadable_tree_has_no_size(tmp_path: Path) -> None:
    """A missing tree is no error: it may be removed at any time."""
    assert trees.disk_bytes(tmp_path / "missing") == 0
    (tmp_path / "loop").symlink_to("loop")
    assert trees.disk_bytes(tmp_path / "loop") < 8192


def test_the_caller_can_stop_a_walk(tmp_path: Path) -> None:
    """The driver needs it when it shuts down."""
    with pytest.raises(trees.WalkStoppedError):
        trees.disk_bytes(tmp_path, stop=lambda: True)


def test_only_a_small_regular_file_is_read(tmp_path: Path) -> None:
    """Any other file may block the reader, or fill its memory."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("fifo", "large", "link", "."):
        with pytest.raises((OSError, UnsafePathError)):
            files.read_small(tmp_path / name, most=99)
    assert files.read_small(tmp_path / "large", most=100) == b"x" * 100


def test_an_interrupted_removal_is_finished_with_any_names_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is process 1 in each of its containers, and a tenant may have used any name."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(files, "BATCH", 2)
    for number in range(1, 5):
        (tmp_path / "removed" / f".removed-1-{number}" / "full").mkdir(parents=True)
    (tmp_path / "removed" / "a" / "b" / "c").mkdir(parents=True)
    files.remove_tree(tmp_path, tmp_path / "removed")

    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_changes_during_the_walk_is_measured(tmp_path: Path) -> None:
    """A walk does not fail if entries are renamed, removed, or replaced by another type of file."""
    stop = threading.Event()
    top = tmp_path / "data"
    top.mkdir()

    def change() -> None:
        for number in itertools.count():
            source, target = top / f"{number % 3}", top / f"{(number + 1) % 3}"
            with contextlib.suppress(OSError):
                (source / "a" / "b").mkdir(parents=True)
                (source / "a" / "file").write_bytes(b"x" * 4096)
            with contextlib.suppress(OSError):
                source.rename(target / "a" / "b" / "c")
            if number % 7 == 0:
                shutil.rmtree(target, ignore_errors=True)
                with contextlib.suppress(OSError):
                    target.write_bytes(b"") if number % 2 else target.symlink_to(source)
            elif number % 7 == 3:
                target.unlink() if target.is_file() or target.is_symlink() else None
            if number % 50 == 0:
                shutil.rmtree(top, ignore_errors=True)
                top.write_bytes(b"") if number % 100 else top.mkdir(exist_ok=True)
                top.unlink() if top.is_file() else None
                top.mkdir(exist_ok=True)
            if stop.is_set():
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        deadline, walked = time.monotonic() + 0.5, 0
        while time.monotonic() < deadline:
            assert trees.disk_bytes(top) >= 0
            assert trees.disk_bytes(top / "0" / "a") >= 0
            walked += 1
    finally:
        stop.set()
        changing.join()
    assert walked > 10


def test_a_path_below_a_file_has_no_size(tmp_path: Path) -> None:
    """A volume's directory may have been replaced."""
    (tmp_path / "file").write_bytes(b"x")
    assert trees.disk_bytes(tmp_path / "file" / "data") == 0
