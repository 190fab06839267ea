"""The commands for objects: apply, get, delete, scale, wait."""

import json
import re
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.provisioner.cli.conftest import Mooring

WEB = str(ROOT / "examples" / "web.yaml")


def test_apply_prints_what_it_did_to_each_object(mooring: Mooring, tmp_path: Path) -> None:
    """The words are kubectl's: created, unchanged, configured."""
    assert mooring("apply", "-f", WEB).out == "service/nginx created\nstatefulset.apps/web created\n"
    assert mooring("apply", "-f", WEB).out == "service/nginx unchanged\nstatefulset.apps/web unchanged\n"
    changed = tmp_path / "web.yaml"
    changed.write_text(Path(WEB).read_text(encoding="utf-8").replace("replicas: 2", "replicas: 3"), encoding="utf-8")

    assert mooring("apply", "-f", str(changed)).out == "service/nginx unchanged\nstatefulset.apps/web configured\n"


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_every_object_of_a_list_is_applied(mooring: Mooring, tmp_path: Path, suffix: str) -> None:
    """`kind: List` is what `get -o yaml` and `-o json` print; lists and other documents may be in one file."""
    objects = list(yaml.safe_load_all(Path(WEB).read_text(encoding="utf-8")))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [*objects, space]}
    file = tmp_path / f"list.{suffix}"
    file.write_text(json.dumps(listed) if suffix == "json" else yaml.safe_dump(listed), encoding="utf-8")

    names = ("service/nginx", "statefulset.apps/web", "namespace/mine")
    assert mooring("apply", "-f", str(file)).out == "".join(f"{name} created\n" for name in names)
    assert mooring("apply", "-f", str(file)).out == "".join(f"{name} unchanged\n" for name in names)
    printed = tmp_path / f"printed.{suffix}"
    printed.write_text(mooring("get", "svc,sts", "-o", suffix).out, encoding="utf-8")
    assert mooring("apply", "-f", str(printed)).out == "service/nginx unchanged\nstatefulset.apps/web unchanged\n"


def test_apply_removes_fields_that_the_file_no_longer_has_and_keeps_those_of_others(
    mooring: Mooring, tmp_path: Path
) -> None:
    """The three-way merge reads the file as last applied from an annotation of the object."""
    file = tmp_path / "s.yaml"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"a": "1", "b": "1"}}}
    file.write_text(yaml.safe_dump({**service, "spec": {"clusterIP": "None"}}), encoding="utf-8")
    mooring("apply", "-f", str(file))
    other = {**service, "metadata": {"name": "s", "labels": {"a": "1"}}, "spec": {"clusterIP": "None"}}
    file.write_text(yaml.safe_dump(other), encoding="utf-8")

    assert mooring("apply", "-f", str(file)).out == "service/s configured\n"
    assert json.loads(mooring("get", "svc", "s", "-o", "json").out)["metadata"]["labels"] == {"a": "1"}


BAD_MANIFESTS = {
    "a: 1\na: 2\n": "line 2: the key 'a' is duplicate",
    "a: [": "line",
    "just text": "an object is a map",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n": "Mooring does not serve kind v1 Secret",
    "apiVersion: v1\nkind: Pod\n": "the Pod has no metadata.name",
    "[" * 5000 + "]" * 5000: "nested too deeply",
    "a: &a [*a]\n": "is inside of its own anchor",
    "kind: List\nitems: {a: b}\n": "does not serve kind  List",
}


@pytest.mark.parametrize("text", BAD_MANIFESTS)
def test_an_error_in_a_manifest_names_file_and_line(mooring: Mooring, tmp_path: Path, text: str) -> None:
    """The error is one message, with exit code 65."""
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")

    result = mooring("apply", "-f", str(file))

    assert (result.code, result.out) == (65, "")
    assert BAD_MANIFESTS[text] in result.err
    assert result.err.startswith("mooring: ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("text", ["", "---\n---\n# nothing\n", "apiVersion: v1\nkind: List\nitems: []\n", None])
def test_a_file_or_directory_without_objects_is_an_error(mooring: Mooring, tmp_path: Path, text: str | None) -> None:
    """As with kubectl; it is most often the wrong file."""
    (tmp_path / "d").mkdir()
    if text is not None:
        (tmp_path / "d/f.yaml").write_text(text, encoding="utf-8")

    result = mooring("apply", "-f", str(tmp_path / "d"))

    assert (result.code, result.out) == (1, "")
    assert "no objects passed" in result.err


def test_an_unknown_field_is_refused_by_name(mooring: Mooring, tmp_path: Path) -> None:
    """A misspelt field must not be ignored silently."""
    file = tmp_path / "pvc.yaml"
    text = (ROOT / "examples" / "unbindable.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("storageClassName", "storageClasName"), encoding="utf-8")

    result = mooring("apply", "-f", str(file))

    assert result.code == 1
    assert "storageClasName" in result.err


def test_get_prints_kubectls_columns(mooring: Mooring) -> None:
    """The columns and values are kubectl's, apart from the age."""
    mooring("apply", "-f", WEB)
    mooring("apply", "-f", str(ROOT / "examples" / "unbindable.yaml"))

    assert _ageless(mooring("get", "sts").out) == "NAME   READY   AGE\nweb    0/2     N\n"
    assert _ageless(mooring("get", "pvc,svc").out) == (
        "NAME                            STATUS    VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   VOLUMEATTRIBUTESCLASS   AGE\n"
        "persistentvolumeclaim/archive   Pending                                      tape           <unset>                 N\n"
        "\n"
        "NAME            TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE\n"
        "service/nginx   ClusterIP   None         <none>        80/TCP    N\n"
    )
    wide = _ageless(mooring("get", "sts", "-A", "-o", "wide", "--no-headers").out)
    assert wide.split() == ["default", "web", "0/2", "N", "nginx", "registry.k8s.io/nginx-slim:0.27"]


def _ageless(text: str) -> str:
    return re.sub(r"(?<=\s)\d+m?\d*s(?=\s)", "N", text)


def test_get_prints_objects_as_data(mooring: Mooring) -> None:
    """The formats are JSON, YAML and names; several objects are a List."""
    mooring("apply", "-f", WEB)

    assert mooring("get", "sts", "-o", "name").out == "statefulset.apps/web\n"
    assert json.loads(mooring("get", "sts", "web", "-o", "json").out)["metadata"]["name"] == "web"
    listed = yaml.safe_load(mooring("get", "sts,svc", "-o", "yaml").out)
    assert (listed["kind"], [each["kind"] for each in listed["items"]]) == ("List", ["StatefulSet", "Service"])


def test_get_selects_by_label_and_name(mooring: Mooring) -> None:
    """The options and arguments are -l, KIND NAME… and KIND/NAME."""
    mooring("apply", "-f", WEB)

    assert "nginx" in mooring("get", "svc", "-l", "app=nginx").out
    assert mooring("get", "svc", "-l", "app=other").err == "No resources found in default namespace.\n"
    assert "web" in mooring("get", "statefulset/web").out
    missing = mooring("get", "sts", "web", "gone")
    assert missing.code == 1
    assert "web" in missing.out
    assert 'statefulsets.apps "gone" not found' in missing.err


def test_delete_waits_until_objects_are_gone(mooring: Mooring) -> None:
    """The objects of a file are deleted in reverse order; a missing object is an error."""
    mooring("apply", "-f", WEB)

    result = mooring("delete", "-f", WEB)
    assert result.out == 'statefulset.apps "web" deleted\nservice "nginx" deleted\n'
    assert mooring("get", "sts,svc").out == ""
    assert mooring("delete", "sts", "web").code == 1
    assert mooring("delete", "sts", "web", "--ignore-not-found").code == 0


def test_delete_times_out_and_names_the_finalizers(mooring: Mooring, tmp_path: Path) -> None:
    """No controller removes the finalizer of this claim."""
    mooring("apply", "-f", str(ROOT / "examples" / "unbindable.yaml"))

    result = mooring("delete", "pvc", "archive", "--timeout", "0.2")

    assert result.code == 75
    assert "finalizers: kubernetes.io/pvc-protection" in result.err
    del tmp_path


def test_delete_of_a_kind_alone_is_refused(mooring: Mooring) -> None:
    """Deleting all objects of a kind needs --all."""
    result = mooring("delete", "pvc")

    assert (result.code, result.err) == (2, "mooring: name the objects to delete, or use -l SELECTOR or --all\n")


def test_scale_sets_the_replicas_and_nothing_else(mooring: Mooring) -> None:
    """The command uses the scale subresource; other kinds cannot be scaled."""
    mooring("apply", "-f", WEB)

    assert mooring("scale", "statefulset/web", "--replicas", "5").out == "statefulset.apps/web scaled\n"
    assert json.loads(mooring("get", "sts", "web", "-o", "json").out)["spec"]["replicas"] == 5
    assert mooring("scale", "pod/web-0", "--replicas", "1").code == 2


def test_wait_ends_when_the_condition_is_met_or_at_the_timeout(mooring: Mooring) -> None:
    """The exit codes are stable for scripts."""
    mooring("apply", "-f", WEB)

    assert mooring("wait", "sts/web", "--for=ready", "--timeout", "0.2").code == 75
    assert mooring("wait", "sts/other", "--for=delete").out == "statefulset/other condition met\n"


def test_watching_shows_each_change_in_the_same_columns(mooring: Mooring, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first Table of a watch has the column names."""
    mooring("apply", "-f", WEB)
    watcher = threading.Thread(target=mooring, args=("get", "sts", "--watch"), daemon=True)
    watcher.start()
    time.sleep(0.5)
    mooring_again = __import__("provisioner.cli.main", fromlist=["run"]).run
    mooring_again(["scale", "sts/web", "--replicas", "4"])
    seen = ""
    for _ in range(100):
        seen += capsys.readouterr().out
        if "0/4" in seen:
            break
        time.sleep(0.05)

    assert re.search(r"^web\s+0/4\s+\d+s$", seen, re.MULTILINE)
