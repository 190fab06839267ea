"""The stages of CI: their table, their time shares, and the effect of a failure."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process


@pytest.fixture
def ci(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the script hack/ci, with builds disabled."""
    loader = importlib.machinery.SourceFileLoader("ci_script", str(ROOT / "hack" / "ci"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses resolve annotations there
    loader.exec_module(module)
    monkeypatch.setattr(module, "BUILDS", {"nothing": []})
    monkeypatch.delitem(sys.modules, loader.name)
    return module


def _stages(ci: ModuleType, monkeypatch: pytest.MonkeyPatch, **commands: tuple[str, float]) -> None:
    stages = [ci.Stage(name, ["sh", "-c", command], share) for name, (command, share) in commands.items()]
    monkeypatch.setattr(ci, "stages", lambda: stages)


def test_the_page_has_every_stage_with_its_share() -> None:
    """docs/testing.md matches hack/stages.toml."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    stages = tomllib.loads((ROOT / "hack" / "stages.toml").read_text(encoding="utf-8"))

    rows = [
        f"| `{name}` | `{' '.join(each['command'])}` | {each['share_seconds']} s |" for name, each in stages.items()
    ]
    assert [row for row in rows if row not in page] == []
    assert sum(each["share_seconds"] for each in stages.values()) <= 35 * 60


def test_a_failed_stage_ends_the_run(
    ci: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Later stages do not run, and the exit code is 1."""
    _stages(ci, monkeypatch, first=("exit 3", 10.0), second=(f"touch {tmp_path}/ran", 10.0))

    assert ci.main([]) == 1
    assert "stage first" in capfd.readouterr().out
    assert not (tmp_path / "ran").exists()


def test_a_stage_over_its_share_fails_only_with_hold_shares(
    ci: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """CI reports it; `make nightly` fails."""
    _stages(ci, monkeypatch, slow=("true", 0.0))

    assert ci.main([]) == 0
    assert "OVER ITS SHARE" in capfd.readouterr().out
    assert ci.main(["--hold-shares"]) == 1


def test_a_build_that_fails_ends_the_run_before_the_stage_that_needs_it(
    ci: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The end of the build's output is printed."""
    monkeypatch.setattr(ci, "BUILDS", {"tool": [["sh", "-c", "echo no such thing; exit 1"]]})
    stage = ci.Stage("needs-it", ["touch", str(tmp_path / "ran")], 10.0, needs="tool")
    monkeypatch.setattr(ci, "stages", lambda: [stage])

    assert ci.main([]) == 1
    assert "no such thing" in capfd.readouterr().out
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("argument", "code"), [("README.md", 2), ("provisioner/nowhere.py", 2), ("", 2)])
def test_an_argument_that_is_no_source_file_is_refused(argument: str, code: int) -> None:
    """`make test-of` prints its usage."""
    argv = [sys.executable, str(ROOT / "hack" / "test-of"), *([argument] if argument else [])]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (code, "")
    assert "test-of" in result.stderr


def test_tests_of_a_source_file_are_those_that_import_it() -> None:
    """Imports through helpers in tests/ count, too."""
    argv = [sys.executable, str(ROOT / "hack" / "test-of"), "provisioner/kube/queue.py", "--", "--collect-only"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout
    assert "tests/unit/provisioner/kube/test_work_queue.py" in result.stderr


def test_a_nightly_run_continues_after_an_interruption(tmp_path: Path) -> None:
    """A job that passed is not run again; one that failed or has not run is."""
    code = (
        "import importlib.machinery as m, importlib.util as u, sys; "
        f"l = m.SourceFileLoader('nightly', {str(ROOT / 'hack' / 'nightly')!r}); "
        "n = u.module_from_spec(u.spec_from_loader('nightly', l)); sys.modules['nightly'] = n; l.exec_module(n); "
        f"n.JOBS = {{'good': n.Job(['sh', '-c', 'echo x >> {tmp_path}/good; echo 3 passed']), "
        f"'bad': n.Job(['sh', '-c', 'echo x >> {tmp_path}/bad; exit 4'])}}; print(n.main([]), n.main([]))"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "1 1"
    assert "## good: passed" in result.stdout
    assert "## bad: FAILED (4)" in result.stdout
    assert ["x"] == (tmp_path / "good").read_text(encoding="utf-8").splitlines()
    assert ["x", "x"] == (tmp_path / "bad").read_text(encoding="utf-8").splitlines()
