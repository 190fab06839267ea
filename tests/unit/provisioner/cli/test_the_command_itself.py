"""Errors, exit codes, help and import time of the command."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from provisioner.cli.exits import MEANINGS
from provisioner.cli.main import COMMANDS, run
from provisioner.cli.main import mooring as group
from tests import builders
from tests.conftest import ROOT
from tests.unit.provisioner.cli.conftest import Mooring

pytestmark = pytest.mark.process

HEAVY = ("kubernetes", "grpc", "aiohttp", "cryptography", "pydantic", "structlog")


@pytest.mark.parametrize("command", ["get", "apply", "explain", "path", "version"])
def test_light_commands_load_no_heavy_library(command: str) -> None:
    """Imports of large libraries would delay these commands noticeably."""
    code = f"import sys, provisioner.cli.main as m; m.run([{command!r}, '--help']); print([x for x in {HEAVY} if x in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


BAD_LINES = {
    ("frobnicate",): (2, "No such command 'frobnicate'"),
    ("get",): (2, "name a kind"),
    ("get", "cronjobs"): (2, "unknown kind 'cronjobs'"),
    ("get", "pods", "-o", "xml"): (2, "'xml' is not one of"),
    ("get", "pods/a", "b"): (2, "is not of the form KIND/NAME"),
    ("scale", "sts/web"): (2, "Missing option '--replicas'"),
    ("explain", "node", "x"): (2, "'node' is not one of"),
    ("apply", "-f", "/does/not/exist"): (65, "cannot be read"),
    ("get", "pods", "-l", "a in"): (1, ""),
    ("up", "--node-name", "Bad Name!"): (2, "cannot be the name of a node"),
    ("up", "--node-name", "n" * 64): (2, "at most 63"),
    ("up", "--node-name", ""): (2, "cannot be the name of a node"),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_an_invalid_command_line_gets_a_message_and_its_code(mooring: Mooring, line: tuple[str, ...]) -> None:
    """The error is a message, never a traceback."""
    code, message = BAD_LINES[line]
    result = mooring(*line)

    assert result.code == code
    assert message in result.err
    assert result.err.startswith("mooring: ")
    assert "Traceback" not in result.err


def test_the_directory_of_a_pool_is_created_only_with_create(tmp_path: Path) -> None:
    """A typo in the path of a disk must not create a pool on the parent's disk."""
    path = tmp_path / "dsik1"
    code = "import sys, provisioner.cli.main as m; sys.exit(m.run(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, "pool", "init", str(path), "--name", "p"]
    refused = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)

    assert (refused.returncode, path.exists()) == (78, False)
    assert f"{path} does not exist" in refused.stderr
    assert "--create" in refused.stderr
    subprocess.run([*argv, "--create"], capture_output=True, cwd=ROOT, check=True)
    assert (path / "pool.json").exists()


def test_without_a_server_the_message_shows_how_to_start_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing kubeconfig and one whose server does not run both end with 69."""
    assert run(["get", "pods", "--state", str(tmp_path)]) == 69
    assert "start one with `mooring up`" in capsys.readouterr().err
    config = builders.kubeconfig("http://127.0.0.1:9", token="t")
    (tmp_path / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")

    assert run(["get", "pods", "--state", str(tmp_path)]) == 69
    assert "start the engine with `mooring up`" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[", "{}", "current-context: x", "users: 5\ncurrent-context: 1", "\x00"])
def test_a_broken_kubeconfig_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The error names the file."""
    (tmp_path / "config").write_text(text, encoding="utf-8")

    assert run(["get", "pods", "--kubeconfig", str(tmp_path / "config")]) == 65
    assert f"{tmp_path}/config" in capsys.readouterr().err


def test_a_closed_pipe_ends_the_command_without_an_error(state: Path) -> None:
    """An example is `mooring get … | head -1`."""
    code = "import sys; from provisioner.cli.main import main; main()"
    line = f"{sys.executable} -c '{code}' get pods,pvc,pv,sts,ns,sc,nodes -o yaml | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, check=True)
    del state

    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in {"0", "141"}


def test_explain_prints_reasons_as_text_and_as_data(mooring: Mooring) -> None:
    """Both have the same reasons; the exit code is 1 for an unhealthy object."""
    mooring("apply", "-f", str(ROOT / "examples" / "unbindable.yaml"))

    explained = mooring("explain", "claim", "archive")
    assert explained.code == 1
    assert explained.out.startswith("claim default/archive: Pending\n  StorageClass tape does not exist;")
    data = json.loads(mooring("explain", "claim", "archive", "-o", "json").out)
    assert [each["code"] for each in data["reasons"]] == ["class-unknown"]
    assert mooring("explain", "claim", "gone").code == 1


def test_explain_reports_that_the_claim_of_an_ephemeral_volume_was_not_created_for_the_pod(
    mooring: Mooring, tmp_path: Path
) -> None:
    """The pod waits until that claim is deleted, even if the claim is healthy."""
    spec = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}"
    (tmp_path / "db.yaml").write_text(
        f"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: db-d}}\nspec: {spec}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: db}\nspec: {containers: [{name: c, image: i}], "
        f"volumes: [{{name: d, ephemeral: {{volumeClaimTemplate: {{spec: {spec}}}}}}}]}}\n",
        encoding="utf-8",
    )
    mooring("apply", "-f", str(tmp_path / "db.yaml"))

    explained = mooring("explain", "pod", "db")

    assert explained.code == 1
    assert "was not created for this pod" in explained.out.splitlines()[1]


def test_version_prints_the_versions_of_the_program_and_of_the_server(mooring: Mooring) -> None:
    """The server's version is optional."""
    version = json.loads(mooring("version", "-o", "json").out)

    assert version["server"].endswith("+embedded")
    assert mooring("version", "--client").out.startswith("mooring ")


def _options(command: click.Command) -> set[str]:
    return {option for each in command.params for option in each.opts if option.startswith("--")}


def test_every_command_flag_and_exit_code_is_documented() -> None:
    """docs/cli.md has every command, flag and exit code."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(group)
    for name, message in COMMANDS.items():
        assert f"## `mooring {name}`" in page, name
        assert message in page, name
        command = group.get_command(context, name)
        assert command is not None
        section = page.split(f"## `mooring {name}`", 1)[1].split("\n## ", 1)[0]
        commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        for option in set().union(*map(_options, commands)):
            assert f"`{option}" in section, f"{name} {option}"
    for code, meaning in MEANINGS.items():
        assert f"| {code} | {meaning} |" in page, code
