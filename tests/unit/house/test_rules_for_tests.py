"""The rules of tests/conftest.py can fail: a test that leaves something, or skips without a reason, is caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process

CULPRITS = {
    # what a test does: what its failure says
    "a process": ("subprocess.Popen(['sleep', '2'], start_new_session=True)", "left behind: {'processes'"),
    "an orphan": ("subprocess.run(['sh', '-c', 'sleep 2 &'])", "left behind: {'processes'"),
    "a file": ("tempfile.mkstemp()", "left behind: {'temporary files'"),
    "a skip without a reason": ("pytest.skip('no time')", "was skipped though the machine has what it needs"),
}


def _run(code: str, scratch: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    file = scratch / "test_culprit.py"
    text = f"import subprocess, tempfile, pytest\n\n\ndef test_culprit():\n    {code}\n"
    file.write_text(text, encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(file)]
    return subprocess.run(
        [*argv, "--rootdir", str(scratch), "-p", "no:cacheprovider", *flags],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("culprit", CULPRITS)
def test_what_breaks_a_rule_fails(tmp_path: Path, culprit: str) -> None:
    """Under CI, each of them."""
    code, said = CULPRITS[culprit]
    done = _run(code, tmp_path, CI="true")

    assert done.returncode == 1, done.stdout
    assert said in done.stdout


def test_what_breaks_a_rule_fails_in_a_worker_too(tmp_path: Path) -> None:
    """Each worker looks for what its own tests left, and the run's directories are gone when nothing is left."""
    done = _run("subprocess.Popen(['sleep', '2'], start_new_session=True)", tmp_path, "-n", "2", CI="true")
    assert done.returncode == 1, done.stdout
    assert "left behind: {'processes'" in done.stdout

    assert _run("tempfile.mkdtemp(); tempfile.mkdtemp()", tmp_path, "-n", "2").returncode == 1
    before = set(tmp_path.iterdir())
    clean = _run("pass", tmp_path, "-n", "2")
    assert clean.returncode == 0, clean.stdout
    assert before == set(tmp_path.iterdir())


def test_a_clean_test_passes_and_a_failing_one_still_reports_what_it_left(tmp_path: Path) -> None:
    """The look at what is left comes after a failure, too."""
    assert _run("pass", tmp_path).returncode == 0
    both = _run("tempfile.mkstemp(); assert False", tmp_path)

    assert "1 failed, 1 error" in both.stdout
    assert "left behind" in both.stdout


def test_a_second_run_in_one_process_has_room_for_its_files(tmp_path: Path) -> None:
    """What a run set for itself is put back when it ends, so that whoever runs pytest again and again can."""
    file = tmp_path / "test_innocent.py"
    file.write_text("def test_innocent(tmp_path):\n    pass\n", encoding="utf-8")
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider", str(file)]
    code = f"import pytest; print([int(pytest.main({options!r})) for _ in range(2)])"
    argv = [sys.executable, "-c", code]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert "[0, 0]" in done.stdout, done.stdout + done.stderr


def test_a_run_that_is_terminated_tears_down_what_it_set_up(tmp_path: Path) -> None:
    """SIGTERM ends a run as Ctrl-C does, so that no cluster, mount or loop device outlives it."""
    kept = tmp_path / "set-up"
    kept.touch()
    done = _run(
        "import os, pathlib, signal\n"
        "    import contextlib\n    with contextlib.ExitStack() as stack:\n"
        f"        stack.callback(pathlib.Path({str(kept)!r}).unlink)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)",
        tmp_path,
    )

    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout
    assert not kept.exists()
