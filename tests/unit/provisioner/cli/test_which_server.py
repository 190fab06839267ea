"""No command changes anything on a server that the user did not select."""

from pathlib import Path

import pytest
import yaml

from provisioner.cli.exits import CommandError
from provisioner.cli.kubeconfig import Source, find, read
from provisioner.cli.main import run
from provisioner.cli.program import PLUGIN
from tests.unit.provisioner.cli.conftest import Mooring

SPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}\n"


def _config(path: Path, *names: str, url: str = "http://127.0.0.1:9", current: str = "") -> Path:
    """Write a kubeconfig with a context, a cluster and a user of each name."""
    config = {
        "current-context": current or (names[0] if names else ""),
        "clusters": [{"name": each, "cluster": {"server": f"{url}/{each}" if each != "t" else url}} for each in names],
        "users": [{"name": each, "user": {"token": each}} for each in names],
        "contexts": [{"name": each, "context": {"cluster": each, "user": each}} for each in names],
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.parametrize("ever_ran", [True, False])
def test_the_command_uses_the_engine_and_never_a_cluster_that_is_not_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mooring: Mooring, state: Path, *, ever_ran: bool
) -> None:
    """KUBECONFIG names a running server; an engine that is stopped or never ran ends the command with 69."""
    other = tmp_path / "data/mooring"
    other.mkdir(parents=True)
    if ever_ran:
        _config(other / "kubeconfig", "t")
    monkeypatch.delenv("MOORING_STATE")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("KUBECONFIG", str(state / "kubeconfig"))
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")

    result = mooring("apply", "-f", str(tmp_path / "space.yaml"))

    assert result.code == 69
    assert "`mooring up`" in result.err
    assert "mine" not in mooring("get", "ns", "-o", "name", "--state", str(state)).out


def test_the_server_is_named_once_before_anything_is_changed_on_a_cluster(
    tmp_path: Path, mooring: Mooring, state: Path
) -> None:
    """The server is not named for reads, and not for the engine."""
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    line = ("apply", "-f", str(tmp_path / "space.yaml"))

    result = mooring(*line, "--kubeconfig", str(state / "kubeconfig"))
    assert result.code == 0
    assert result.err.count("mooring: changing objects on http://127.0.0.1:") == 1
    assert f"context c of {state}/kubeconfig" in result.err
    assert mooring("get", "ns", "--kubeconfig", str(state / "kubeconfig")).err == ""
    assert mooring("delete", "ns/mine", "--no-wait").err == ""
    assert mooring("delete", "ns/mine", "--no-wait", "--state", str(state)).err == ""


def test_a_context_selects_its_server_instead_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mooring: Mooring, state: Path
) -> None:
    """As with kubectl: `--context` alone, of the files in KUBECONFIG, whichever of them is current."""
    server = yaml.safe_load((state / "kubeconfig").read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
    config = _config(tmp_path / "mine", "other", "t", url=server, current="other")
    monkeypatch.setenv("KUBECONFIG", str(config))
    (tmp_path / "engine").mkdir()
    monkeypatch.setenv("MOORING_STATE", str(_config(tmp_path / "engine/kubeconfig", "engine").parent))
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")

    result = mooring("apply", "-f", str(tmp_path / "space.yaml"), "--context", "t")

    assert result.out == "namespace/mine created\n"
    assert f"mooring: changing objects on {server}" in result.err
    assert "context t of" in result.err
    assert mooring("get", "ns", "mine", "-o", "name", "--context", "t").out == "namespace/mine\n"
    assert "Unauthorized" in mooring("get", "ns", "--context", "other").err
    assert "context x" in mooring("get", "ns", "--context", "x").err


def test_two_servers_at_once_are_refused(mooring: Mooring, state: Path) -> None:
    """The selection would be ambiguous."""
    assert mooring("get", "ns", "--state", str(state), "--context", "c").code == 2
    assert mooring("get", "ns", "--state", str(state), "--kubeconfig", "x").code == 2


def test_the_plugin_follows_kubeconfig_and_not_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`kubectl mooring` uses the same server as kubectl, also when MOORING_STATE is set."""
    _config(tmp_path / "kubeconfig", "engine")
    monkeypatch.setenv("MOORING_STATE", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(_config(tmp_path / "mine", "cluster")))

    assert run(["get", "pods"], name=PLUGIN) == 69
    assert "no server answers at http://127.0.0.1:9/cluster" in capsys.readouterr().err
    assert run(["recover"], name=PLUGIN) == 78
    assert "controller's pod" in capsys.readouterr().err


def test_kubeconfigs_are_merged_as_kubectl_merges_them(tmp_path: Path) -> None:
    """The first file that has a name wins, missing files are skipped, and paths are relative to their own file."""
    first = _config(tmp_path / "first", "a", "b", url="http://first")
    second = _config(tmp_path / "second", "b", "c", url="http://second", current="c")
    environ = {"KUBECONFIG": f"{tmp_path}/none::{first}:{second}"}

    def url(context: str = "") -> str:
        return read(find(environ, context=context, plugin=True)).url

    assert [url(), url("a"), url("b"), url("c")] == [
        "http://first/a",
        "http://first/a",
        "http://first/b",
        "http://second/c",
    ]
    with pytest.raises(CommandError, match="context x"):
        url("x")


def test_without_kubeconfig_the_plugin_reads_the_file_in_the_home_directory() -> None:
    """This is kubectl's rule; a KUBECONFIG of only missing files does not fall back to the home directory."""
    assert find({"HOME": "/h"}, plugin=True) == Source((Path("/h/.kube/config"),))
    assert find({"HOME": "/h", "KUBECONFIG": "/none"}, plugin=True) == Source((Path("/none"),))


def test_in_a_pod_the_cluster_is_used_only_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pod that runs an engine for tests, `mooring recover` must not use the cluster."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("MOORING_STATE", str(tmp_path))

    assert run(["recover"]) == 78
    assert f"no engine runs on {tmp_path}" in capsys.readouterr().err
