"""Errors, exit codes, help and weight of the command."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from provisioner.cli.exits import MEANINGS
from provisioner.cli.main import COMMANDS, run
from provisioner.cli.main import mooring as group
from tests.conftest import ROOT
from tests.unit.provisioner.cli.conftest import Mooring

pytestmark = pytest.mark.process

HEAVY = ("kubernetes", "grpc", "aiohttp", "cryptography", "pydantic", "structlog")


@pytest.mark.parametrize("command", ["get", "apply", "explain", "path", "version"])
def test_light_commands_load_no_heavy_library(command: str) -> None:
    """They answer before a person notices; what they load is what that costs."""
    code = f"import sys, provisioner.cli.main as m; m.run([{command!r}, '--help']); print([x for x in {HEAVY} if x in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


BAD_LINES = {
    ("frobnicate",): (2, "No such command 'frobnicate'"),
    ("get",): (2, "name a kind"),
    ("get", "cronjobs"): (2, "there is no kind 'cronjobs'"),
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
def test_a_bad_command_line_gets_a_sentence_and_its_code(mooring: Mooring, line: tuple[str, ...]) -> None:
    """Never a traceback."""
    code, said = BAD_LINES[line]
    ran = mooring(*line)

    assert ran.code == code
    assert said in ran.err
    assert ran.err.startswith("mooring: ")
    assert "Traceback" not in ran.err


def test_a_pool_is_made_where_nothing_is_only_when_that_is_asked_for(tmp_path: Path) -> None:
    """A typo in the path of a disk must not become a pool on the disk above it."""
    path = tmp_path / "dsik1"
    code = "import sys, provisioner.cli.main as m; sys.exit(m.run(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, "pool", "init", str(path), "--name", "p"]
    refused = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)

    assert (refused.returncode, path.exists()) == (78, False)
    assert f"{path} does not exist" in refused.stderr
    assert "--create" in refused.stderr
    subprocess.run([*argv, "--create"], capture_output=True, cwd=ROOT, check=True)
    assert (path / "pool.json").exists()


def test_when_nothing_runs_the_sentence_says_how_to_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No kubeconfig, and one whose server is gone: both end with 69."""
    assert run(["get", "pods", "--state", str(tmp_path)]) == 69
    assert "start one with `mooring up`" in capsys.readouterr().err
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")

    assert run(["get", "pods", "--state", str(tmp_path)]) == 69
    assert "start the engine with `mooring up`" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[", "{}", "current-context: x", "users: 5\ncurrent-context: 1", "\x00"])
def test_a_broken_kubeconfig_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Which file, and that it is the file."""
    (tmp_path / "config").write_text(text, encoding="utf-8")

    assert run(["get", "pods", "--kubeconfig", str(tmp_path / "config")]) == 65
    assert f"{tmp_path}/config" in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_the_command_quietly(state: Path) -> None:
    """`mooring get … | head -1`, whatever comes after."""
    code = "import sys; from provisioner.cli.main import main; main()"
    line = f"{sys.executable} -c '{code}' get pods,pvc,pv,sts,ns,sc,nodes -o yaml | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, check=True)
    del state

    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in {"0", "141"}


def test_explain_gives_reasons_to_people_and_to_programs(mooring: Mooring) -> None:
    """The same reasons in both; the exit code tells whether all is well."""
    mooring("apply", "-f", str(ROOT / "examples" / "unbindable.yaml"))

    told = mooring("explain", "claim", "archive")
    assert told.code == 1
    assert told.out.startswith("claim default/archive: Pending\n  StorageClass tape does not exist;")
    data = json.loads(mooring("explain", "claim", "archive", "-o", "json").out)
    assert [each["code"] for each in data["reasons"]] == ["class-unknown"]
    assert mooring("explain", "claim", "gone").code == 1


def test_explain_says_that_the_claim_of_an_ephemeral_volume_is_another_ones(mooring: Mooring, tmp_path: Path) -> None:
    """The pod waits for it to go, however well that claim is."""
    spec = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}"
    (tmp_path / "db.yaml").write_text(
        f"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: db-d}}\nspec: {spec}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: db}\nspec: {containers: [{name: c, image: i}], "
        f"volumes: [{{name: d, ephemeral: {{volumeClaimTemplate: {{spec: {spec}}}}}}}]}}\n",
        encoding="utf-8",
    )
    mooring("apply", "-f", str(tmp_path / "db.yaml"))

    told = mooring("explain", "pod", "db")

    assert told.code == 1
    assert "was not created for this pod" in told.out.splitlines()[1]


def test_version_tells_ours_and_the_servers(mooring: Mooring) -> None:
    """And does not fail when no server answers."""
    ours = json.loads(mooring("version", "-o", "json").out)

    assert ours["server"].endswith("+embedded")
    assert mooring("version", "--client").out.startswith("mooring ")


def _options(command: click.Command) -> set[str]:
    return {option for each in command.params for option in each.opts if option.startswith("--")}


def test_every_command_flag_and_exit_code_stands_in_the_documentation() -> None:
    """docs/cli.md is complete, and tells of nothing that is not there."""
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
