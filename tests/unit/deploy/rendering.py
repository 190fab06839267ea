"""The objects of deploy/, as rendered by kustomize and by helm."""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from provisioner.model.kinds import Json
from tests import programs
from tests.conftest import ROOT

DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "mooring"
NAMESPACE: Final = "mooring-system"

OVERLAYS: Final = {
    # overlay: options of the chart that render the same
    "kind": ["--values", str(CHART / "values-kind.yaml")],
    "minikube": ["--values", str(CHART / "values-minikube.yaml")],
    "upstream": [],
}

Key = tuple[str, str, str]
"""(kind, namespace, name)"""


@cache
def kustomized(folder: Path) -> dict[Key, Json]:
    """Return the objects that `kubectl apply -k` sends, by (kind, namespace, name)."""
    return _objects([programs.kubectl(), "kustomize", str(folder)])


@cache
def overlay(name: str) -> dict[Key, Json]:
    """Return the objects of one of the shipped overlays."""
    return kustomized(DEPLOY / "overlays" / name)


@cache
def charted(*options: str) -> dict[Key, Json]:
    """Return the objects that `helm install` sends with these options."""
    argv = [programs.helm(), "template", "mooring", str(CHART), "--namespace", NAMESPACE]
    return _objects([*argv, "--kube-version", "1.37.0", *options])


def of_kind(objects: dict[Key, Json], kind: str) -> Iterator[Json]:
    """Return the objects of one kind."""
    return (each for key, each in objects.items() if key[0] == kind)


def container(objects: dict[Key, Json], kind: str) -> Json:
    """Return the only container of the only workload of this kind."""
    (workload,) = of_kind(objects, kind)
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    found: Json = only
    return found


def _objects(argv: list[str]) -> dict[Key, Json]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HELM_")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[Key, Json] = {}
    for each in yaml.safe_load_all(done.stdout):
        if each is not None:
            key = (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
            assert key not in found, f"duplicate: {key}"
            found[key] = each
    return found
