"""The checks of tests/conftest.py fail a test that leaves resources behind, or skips without a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process

CULPRITS = {
    # violation: (body of the test, expected message)
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
def test_a_test_that_breaks_a_rule_fails(tmp_path: Path, culprit: str) -> None:
    """Each violation fails with CI=true."""
    code, message = CULPRITS[culprit]
    result = _run(code, tmp_path, CI="true")

    assert result.returncode == 1, result.stdout
    assert message in result.stdout


def test_a_test_that_breaks_a_rule_fails_in_a_worker_too(tmp_path: Path) -> None:
    """Each worker checks what its tests left, and a clean run removes its directories."""
    result = _run("subprocess.Popen(['sleep', '2'], start_new_session=True)", tmp_path, "-n", "2", CI="true")
    assert result.returncode == 1, result.stdout
    assert "left behind: {'processes'" in result.stdout

    assert _run("tempfile.mkdtemp(); tempfile.mkdtemp()", tmp_path, "-n", "2").returncode == 1
    before = set(tmp_path.iterdir())
    clean = _run("pass", tmp_path, "-n", "2")
    assert clean.returncode == 0, clean.stdout
    assert before == set(tmp_path.iterdir())


def test_a_clean_test_passes_and_a_failing_one_also_reports_leftovers(tmp_path: Path) -> None:
    """The check for leftovers also runs after a failure."""
    assert _run("pass", tmp_path).returncode == 0
    both = _run("tempfile.mkstemp(); assert False", tmp_path)

    assert "1 failed, 1 error" in both.stdout
    assert "left behind" in both.stdout


def test_a_second_run_in_one_process_has_its_temporary_directory(tmp_path: Path) -> None:
    """A run restores its environment at the end, so that pytest can run several times in one process."""
    file = tmp_path / "test_innocent.py"
    file.write_text("def test_innocent(tmp_path):\n    pass\n", encoding="utf-8")
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider", str(file)]
    code = f"import pytest; print([int(pytest.main({options!r})) for _ in range(2)])"
    argv = [sys.executable, "-c", code]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert "[0, 0]" in result.stdout, result.stdout + result.stderr


def test_a_terminated_run_tears_down_its_resources(tmp_path: Path) -> None:
    """SIGTERM ends a run as Ctrl-C does, so that no cluster, mount or loop device is left."""
    resource = tmp_path / "set-up"
    resource.touch()
    result = _run(
        "import os, pathlib, signal\n"
        "    import contextlib\n    with contextlib.ExitStack() as stack:\n"
        f"        stack.callback(pathlib.Path({str(resource)!r}).unlink)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)",
        tmp_path,
    )

    assert result.returncode == pytest.ExitCode.INTERRUPTED, result.stdout
    assert not resource.exists()
