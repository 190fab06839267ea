"""The commands of the guides refer to existing files, objects and values."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import programs
from tests.conftest import ROOT
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE, OVERLAYS, charted, overlay

GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))


def _commands(guide: Path) -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_files_and_programs_of_the_checkout_exist(guide: Path) -> None:
    """These are overlays, examples, the chart, the Dockerfile, and scripts in hack/."""
    named = re.findall(r"(?:deploy|examples|hack)/[\w./-]*\w", guide.read_text(encoding="utf-8"))

    assert named
    assert [each for each in named if not (ROOT / each).exists() and each != "deploy/overlays/mine"] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_the_names_of_workloads_are_the_installed_ones(guide: Path) -> None:
    """The guides wait for the Deployment and the DaemonSet in their namespace."""
    objects = {f"{kind.lower()}/{name}" for kind, _, name in overlay("upstream")}
    waited = {word for line in _commands(guide) if NAMESPACE in line for word in re.findall(r"\w+/mooring-\w+", line)}

    assert waited == {"deployment/mooring-controller", "daemonset/mooring-driver"} <= objects


def test_the_name_of_the_image_is_that_of_the_manifests() -> None:
    """Otherwise the image is loaded under a name that no pod uses."""
    (image,) = re.findall(r"image: (mooring\.dev/\S+)", (DEPLOY / "base" / "driver.yaml").read_text(encoding="utf-8"))

    for name in ("kind", "minikube"):
        named = re.findall(r"mooring\.dev/\S+", (ROOT / "docs" / "guide" / f"{name}.md").read_text(encoding="utf-8"))
        assert {*named} == {image}


@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_the_chart_has_the_values_of_the_guide() -> None:
    """The guide sets them with `--set`."""
    text = (ROOT / "docs" / "guide" / "any-cluster.md").read_text(encoding="utf-8")
    settings = re.findall(r"--set (\w[\w.]*=[\w/.-]+)", text)

    assert len(settings) == 3
    for setting in settings:
        assert charted("--set", setting)


@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_the_pool_has_the_path_of_the_guide() -> None:
    """The overlay has the same path."""
    for name in OVERLAYS:
        daemon = overlay(name)["DaemonSet", NAMESPACE, "mooring-driver"]["spec"]["template"]["spec"]
        (path,) = (each["hostPath"]["path"] for each in daemon["volumes"] if each["name"] == "pool")
        guide = "any-cluster" if name == "upstream" else name
        assert f"`{path}`" in (ROOT / "docs" / "guide" / f"{guide}.md").read_text(encoding="utf-8")


def test_the_example_uses_a_shipped_class() -> None:
    """A cluster may have another default class."""
    objects = list(yaml.safe_load_all((ROOT / "examples" / "ordinals.yaml").read_text(encoding="utf-8")))
    (template,) = next(each for each in objects if each["kind"] == "StatefulSet")["spec"]["volumeClaimTemplates"]

    assert template["spec"]["storageClassName"] == "mooring-directory"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_is_valid_shell(guide: Path) -> None:
    """A check by `bash -n` finds no error."""
    for line in _commands(guide):
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
