"""Programs have time limits and clear errors; the mount table is parsed as the kernel writes it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi.host import commands, mounts
from csi.host.commands import Limit, run
from csi.host.errors import CommandError, CommandNotFoundError, CommandTimeoutError, MountError


def test_the_error_of_a_program_has_its_last_line_of_output() -> None:
    """It has the program, its exit code and its message."""
    with pytest.raises(CommandError, match=r"ls failed with exit code 2: .*nowhere") as failed:
        run(["ls", "/nowhere"], limit=Limit.QUERY)

    assert (failed.value.exit_code, failed.value.argv) == (2, ("ls", "/nowhere"))
    assert run(["ls", "/nowhere"], limit=Limit.QUERY, ok=(0, 2)).exit_code == 2


def test_a_missing_program_names_the_package_to_install() -> None:
    """The error message has the next step."""
    before = os.environ["PATH"]
    os.environ["PATH"] = "/nowhere"
    try:
        with pytest.raises(CommandNotFoundError, match="install the package e2fsprogs"):
            run(["mkfs.ext4", "x"], limit=Limit.QUERY)
    finally:
        os.environ["PATH"] = before


def test_a_program_that_exceeds_its_limit_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixture of every test would find children that still run."""
    monkeypatch.setattr(commands.Limit.QUERY, "_value_", 0.3)

    with pytest.raises(CommandTimeoutError, match="was killed"):
        run(["bash", "-c", "sleep 60 & sleep 60"], limit=Limit.QUERY)


def test_programs_run_in_the_c_locale_without_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their output can be parsed, and they cannot prompt."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")

    assert run(["bash", "-c", "echo $LC_ALL; cat"], limit=Limit.QUERY).stdout == "C\n"


PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map("/".__add__)


def _escaped(text: str) -> str:
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in text)


@given(PATHS, PATHS, PATHS)
def test_a_line_of_the_table_is_parsed_with_any_paths(root: str, target: str, source: str) -> None:
    """The kernel escapes blanks, tabs, newlines and backslashes, and nothing else."""
    line = f"36 35 98:0 {_escaped(root)} {_escaped(target)} rw,noatime master:1 - ext4 {_escaped(source)} rw,errors=continue"

    found = mounts.parse(line)

    assert (found.root, str(found.target), found.source) == (root, str(Path(target)), source)
    assert (found.device, found.options, found.fs_type) == ((98, 0), frozenset({"rw", "noatime"}), "ext4")


@given(st.lists(st.sampled_from([*mounts.FLAGS, *mounts.DEFAULTS, "discard", "data=ordered"])))
def test_every_option_is_a_flag_or_an_option_of_the_filesystem(options: list[str]) -> None:
    """None is lost, and none is counted twice."""
    flags, data = mounts.flags_and_data([",".join(options)])

    assert flags == _sum({mounts.FLAGS[each] for each in options if each in mounts.FLAGS})
    assert data.split(",") == ([each for each in options if "=" in each or each == "discard"] or [""])


def _sum(bits: set[int]) -> int:
    return sum(bits)


@pytest.mark.needs("root")
def test_a_bind_mount_has_its_own_options_and_is_found_in_the_table(tmp_path: Path) -> None:
    """os.path.ismount does not detect it; the table does."""
    source, target = tmp_path / "source", tmp_path / "a target"
    source.mkdir()
    target.mkdir()
    assert mounts.at(target) is None
    mounts.bind(source, target, options=["ro", "noexec"])
    try:
        found = mounts.at(target)
        assert found is not None
        assert found.read_only
        assert "noexec" in found.options
        assert not os.path.ismount(target)
    finally:
        mounts.unmount(target)
    mounts.unmount(target)
    with pytest.raises(MountError, match="cannot have the option discard"):
        mounts.bind(source, target, options=["discard"])
    assert mounts.at(target) is None


@pytest.mark.needs("root")
def test_a_mount_in_use_is_reported_and_stays(tmp_path: Path) -> None:
    """The error names the reason."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    mounts.bind(source, target)
    used = os.open(target, os.O_RDONLY)
    try:
        with pytest.raises(MountError, match="a process still uses it"):
            mounts.unmount(target)
    finally:
        os.close(used)
        mounts.unmount(target)
