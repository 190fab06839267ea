"""What the guides tell to type names things that are there."""

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
def test_files_and_programs_of_the_checkout_are_there(guide: Path) -> None:
    """Overlays, examples, the chart, the Dockerfile, and our own scripts."""
    named = re.findall(r"(?:deploy|examples|hack)/[\w./-]*\w", guide.read_text(encoding="utf-8"))

    assert named
    assert [each for each in named if not (ROOT / each).exists() and each != "deploy/overlays/mine"] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_workloads_are_called_as_they_are_installed(guide: Path) -> None:
    """Namespaces and names after which people wait."""
    objects = {f"{kind.lower()}/{name}" for kind, _, name in overlay("upstream")}
    waited = {word for line in _commands(guide) if NAMESPACE in line for word in re.findall(r"\w+/mooring-\w+", line)}

    assert waited == {"deployment/mooring-controller", "daemonset/mooring-driver"} <= objects


def test_the_image_is_called_as_in_the_manifests() -> None:
    """Else it is loaded under a name that nobody asks for."""
    (image,) = re.findall(r"image: (mooring\.dev/\S+)", (DEPLOY / "base" / "driver.yaml").read_text(encoding="utf-8"))

    for name in ("kind", "minikube"):
        named = re.findall(r"mooring\.dev/\S+", (ROOT / "docs" / "guide" / f"{name}.md").read_text(encoding="utf-8"))
        assert {*named} == {image}


@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_values_of_the_chart_are_ones_that_it_has() -> None:
    """With `--set`, as the guide has them."""
    text = (ROOT / "docs" / "guide" / "any-cluster.md").read_text(encoding="utf-8")
    settings = re.findall(r"--set (\w[\w.]*=[\w/.-]+)", text)

    assert len(settings) == 3
    for setting in settings:
        assert charted("--set", setting)


@pytest.mark.needs("kubectl")
@pytest.mark.timeout(programs.BUILD_SECONDS)
def test_the_pool_is_where_the_guide_says() -> None:
    """The path is in the overlay, too."""
    for name in OVERLAYS:
        daemon = overlay(name)["DaemonSet", NAMESPACE, "mooring-driver"]["spec"]["template"]["spec"]
        (path,) = (each["hostPath"]["path"] for each in daemon["volumes"] if each["name"] == "pool")
        guide = "any-cluster" if name == "upstream" else name
        assert f"`{path}`" in (ROOT / "docs" / "guide" / f"{guide}.md").read_text(encoding="utf-8")


def test_the_example_uses_a_shipped_class() -> None:
    """A cluster has another default."""
    objects = list(yaml.safe_load_all((ROOT / "examples" / "ordinals.yaml").read_text(encoding="utf-8")))
    (template,) = next(each for each in objects if each["kind"] == "StatefulSet")["spec"]["volumeClaimTemplates"]

    assert template["spec"]["storageClassName"] == "mooring-directory"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_is_whole(guide: Path) -> None:
    """As bash reads it."""
    for line in _commands(guide):
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
