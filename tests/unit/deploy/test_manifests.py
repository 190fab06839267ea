"""The installed objects: kustomize and helm render the same ones, and the API accepts them."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from csi.services.identity import NAME
from provisioner.model.kinds import Json
from tests import programs
from tests.conftest import ROOT
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE, OVERLAYS, charted, container, kustomized, of_kind, overlay
from tests.unit.deploy.strict import problems

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]

GOLDEN = ROOT / "tests" / "unit" / "deploy" / "golden" / "names.yaml"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_renders_what_the_overlay_does(name: str) -> None:
    """The exception is the Namespace, which Helm needs before the chart."""
    ours, charts = overlay(name), charted(*OVERLAYS[name])

    assert ours.keys() - charts.keys() == {("Namespace", "", NAMESPACE)}
    assert charts.keys() <= ours.keys()
    for key, obj in charts.items():
        assert _normal(obj) == _normal(ours[key]), key


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_strict_server_accepts_every_object(name: str) -> None:
    """Every field is known, and no required field is missing."""
    assert [problem for obj in overlay(name).values() for problem in problems(obj)] == []


def test_the_check_of_fields_finds_errors() -> None:
    """Otherwise the previous test would have no effect."""
    port = {"container_port": 5}
    pod = {"containers": [{"name": "x", "ports": [port]}]}
    spec = {"template": {"spec": pod}}

    assert problems({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"names": "x"}, "spec": spec}) == [
        "DaemonSet.spec.template.spec.containers.ports.container_port has the name of a Python attribute",
        "DaemonSet.metadata.names: Extra inputs are not permitted",
        "DaemonSet.spec.selector: Field required",
    ]


def test_public_names_are_frozen() -> None:
    """Manifests and runbooks of users refer to them."""
    objects = overlay("upstream")
    frozen = {
        "objects": sorted("/".join(part for part in key if part) for key in objects),
        "csidriver": objects["CSIDriver", "", NAME]["spec"],
        "ports": {
            "driver": objects["Service", NAMESPACE, "mooring-driver"]["spec"]["ports"],
            "controller": container(objects, "Deployment")["ports"],
        },
    }

    assert frozen == yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))


def test_no_class_is_the_default_unless_configured(tmp_path: Path) -> None:
    """A second default class would get claims of the cluster's default."""
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)
    kustomization = copy / "overlays" / "kind" / "kustomization.yaml"
    with kustomization.open("a", encoding="utf-8") as file:
        file.write("  - ../../components/default-class\n")

    assert _defaults(overlay("kind").values()) == []
    assert _defaults(kustomized(kustomization.parent).values()) == ["mooring-directory"]
    assert _defaults(charted("--set", "defaultClass=mooring-loop").values()) == ["mooring-loop"]


def test_settings_are_applied_everywhere(tmp_path: Path) -> None:
    """The directories of kubelet and of the pool are set by an overlay's settings or by the chart's values."""
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)
    settings = copy / "overlays" / "upstream" / "settings.yaml"
    text = settings.read_text(encoding="utf-8")
    text = re.sub(r"kubeletDir: /.*", "kubeletDir: /var/lib/k0s/kubelet", text)
    settings.write_text(re.sub(r"poolDir: /.*", "poolDir: /srv/fast", text), encoding="utf-8")
    ours = kustomized(settings.parent)
    charts = charted("--set", "kubeletDir=/var/lib/k0s/kubelet", "--set", "poolDir=/srv/fast")

    assert "/var/lib/kubelet" not in str(list(ours.values()))
    key = ("DaemonSet", NAMESPACE, "mooring-driver")
    assert _normal(ours[key]) == _normal(charts[key])
    assert "'path': '/srv/fast'" in str(ours[key])


def test_an_unknown_value_of_the_chart_is_refused() -> None:
    """A misspelt setting that is ignored would create a pool in the wrong directory."""
    with pytest.raises(AssertionError, match="poolPath"):
        charted("--set", "poolPath=/srv/fast")


def test_only_overlays_of_test_clusters_create_pools() -> None:
    """Elsewhere an empty directory may be the mount point of an unmounted disk."""
    for name in OVERLAYS:
        makes = "--init-empty-pools" in container(overlay(name), "DaemonSet")["args"]
        (pod,) = (each["spec"]["template"]["spec"] for each in of_kind(overlay(name), "DaemonSet"))
        (pool,) = (each["hostPath"]["type"] for each in pod["volumes"] if each["name"] == "pool")

        assert (makes, pool) == ((True, "DirectoryOrCreate") if name in ("kind", "minikube") else (False, "Directory"))


def test_images_are_of_this_version_and_no_other() -> None:
    """A mutable tag would upgrade a node when its pod is restarted."""
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    chart = yaml.safe_load((DEPLOY / "helm" / "mooring" / "Chart.yaml").read_text(encoding="utf-8"))

    assert (chart["version"], chart["appVersion"]) == (version, version)
    for name in OVERLAYS:
        images = {container(overlay(name), kind)["image"] for kind in ("Deployment", "DaemonSet")}
        assert images == {f"mooring.dev/mooring:{version}"}
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(r":\d+\.\d+\.\d+-slim-[a-z]+$", base), f"the tag of {base} is mutable"


def _normal(obj: Json) -> Json:
    """Sort lists of named items by name: they are merged by name, and kustomize changes their order."""
    if isinstance(obj, dict):
        return {key: _normal(value) for key, value in obj.items()}
    if isinstance(obj, list):
        items = [_normal(each) for each in obj]
        named = all(isinstance(each, dict) and "name" in each for each in items)
        return sorted(items, key=lambda each: (each["name"], str(each))) if named else items
    return obj


def _defaults(objects: Iterable[Json]) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in objects
        if (each["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
